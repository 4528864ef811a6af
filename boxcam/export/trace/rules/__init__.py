"""What moves numbers about without changing them: a rule for each such operator, one file for each kind of them."""

from boxcam.export.trace.rules import concat as concat
from boxcam.export.trace.rules import gather as gather
from boxcam.export.trace.rules import layout as layout
from boxcam.export.trace.rules import products as products
from boxcam.export.trace.rules import quantization as quantization
from boxcam.export.trace.rules import where as where
