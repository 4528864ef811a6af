"""The gradient rules, one file per family of operators."""

from boxcam.export.autodiff.rules import activation as _activation  # noqa: F401
from boxcam.export.autodiff.rules import arithmetic as _arithmetic  # noqa: F401
from boxcam.export.autodiff.rules import attention as _attention  # noqa: F401
from boxcam.export.autodiff.rules import convolution as _convolution  # noqa: F401
from boxcam.export.autodiff.rules import indexing as _indexing  # noqa: F401
from boxcam.export.autodiff.rules import interpolation as _interpolation  # noqa: F401
from boxcam.export.autodiff.rules import layout as _layout  # noqa: F401
from boxcam.export.autodiff.rules import linear as _linear  # noqa: F401
from boxcam.export.autodiff.rules import normalization as _normalization  # noqa: F401
from boxcam.export.autodiff.rules import pooling as _pooling  # noqa: F401
from boxcam.export.autodiff.rules import quantization as _quantization  # noqa: F401
from boxcam.export.autodiff.rules import reduction as _reduction  # noqa: F401
from boxcam.export.autodiff.rules import resize as _resize  # noqa: F401
from boxcam.export.autodiff.rules import sampling as _sampling  # noqa: F401
from boxcam.export.autodiff.rules import zero as _zero  # noqa: F401
