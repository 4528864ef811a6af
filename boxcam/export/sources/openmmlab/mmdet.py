"""mmdet as a source: a config and a checkpoint, through mmdeploy."""

from __future__ import annotations

from boxcam.export.source import Progress, Request, Source, SourceModel
from boxcam.export.sources.openmmlab.config import is_pair, scope
from boxcam.export.sources.openmmlab.install import WAY

PACKAGES = ("mmcv", "mmdeploy", "mmdet", "mmengine", "torchvision")


def recognises(arguments: tuple[str, ...]) -> bool:
    """A config (.py, .json, .yaml) that is not mmyolo's, and a checkpoint (.pth, .pt)."""
    return is_pair(arguments) and scope(arguments[0]) != "mmyolo"


def load(request: Request, progress: Progress) -> SourceModel:
    """See `boxcam.export.sources.openmmlab.export.load`."""
    from boxcam.export.sources.openmmlab.export import load

    return load(request, progress)


SOURCE = Source(
    usage="CONFIG.py CHECKPOINT.pth",
    recognises=recognises,
    load=load,
    meaning="a config of mmdet, and its checkpoint",
    extra="mmdet",
    packages=PACKAGES,
    install=WAY,
    examples=(
        "retinanet.py retinanet.pth -o retinanet.boxcam",
        "faster-rcnn.py epoch_12.pth --layer roi --layer neck --shape 800x1344",
        "retinanet.py retinanet.pth --layer backbone.2 --sample street.jpg",
        "retinanet.py retinanet.pth --engine onnx",
    ),
)
