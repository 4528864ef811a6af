"""What moves numbers about without changing them: a rule for each such operator, one file for each kind of them."""

from boxcam.export.selection import choosing as choosing
from boxcam.export.selection import joining as joining
from boxcam.export.selection import picking as picking
from boxcam.export.selection import products as products
from boxcam.export.selection import rounding as rounding
from boxcam.export.selection import shapes as shapes
