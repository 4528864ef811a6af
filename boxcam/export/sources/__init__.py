"""The ways in, one file each: importing this package registers them."""

from boxcam.export.sources import mmdet as mmdet
from boxcam.export.sources import mmyolo as mmyolo
from boxcam.export.sources import onnx as onnx
from boxcam.export.sources import torchvision as torchvision
