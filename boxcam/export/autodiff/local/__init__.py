"""Local gradient rules: how operators move and widen the windows of a block.

A local rule has the same mathematics as the operator's plain rule, and is checked against it: what it adds is where the
positions of a window come from.  It declines (returns None) what it cannot do better than the plain rule.
"""

from boxcam.export.autodiff.local import layout as _layout  # noqa: F401
from boxcam.export.autodiff.local import maps as _maps  # noqa: F401
from boxcam.export.autodiff.local import resizing as _resizing  # noqa: F401
from boxcam.export.autodiff.local import rows as _rows  # noqa: F401
