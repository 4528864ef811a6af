"""Kinds of models that can be exported, a folder each, and the table of them; the order is that of help texts.

A declaration imports nothing but boxcam's own light modules: what loads a model is imported when one is loaded.
"""

from __future__ import annotations

from boxcam.export.source import SOURCES as SOURCES
from boxcam.export.sources.onnx import declaration as onnx
from boxcam.export.sources.openmmlab import mmdet, mmyolo
from boxcam.export.sources.torchvision import declaration as torchvision

SOURCES.register("onnx")(onnx.SOURCE)
SOURCES.register("torchvision")(torchvision.SOURCE)
SOURCES.register("mmdet")(mmdet.SOURCE)
SOURCES.register("mmyolo")(mmyolo.SOURCE)
