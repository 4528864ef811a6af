"""The ways in, a folder each: importing this package registers them."""

from boxcam.export.sources.onnx import source as _onnx  # noqa: F401
from boxcam.export.sources.openmmlab import mmdet as _mmdet  # noqa: F401
from boxcam.export.sources.openmmlab import mmyolo as _mmyolo  # noqa: F401
from boxcam.export.sources.torchvision import source as _torchvision  # noqa: F401
