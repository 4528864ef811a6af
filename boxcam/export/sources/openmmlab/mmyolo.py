"""mmyolo: a config and a checkpoint; its detectors are mmdet's, built of parts and read by steps that mmyolo adds.

mmyolo is under the GPL and never needed: this file only calls it where the user has installed it.
"""

from __future__ import annotations

from boxcam.export.source import Progress, Request, Source, SourceModel
from boxcam.export.sources.openmmlab import mmdet
from boxcam.export.sources.openmmlab.config import is_pair, scope
from boxcam.export.sources.openmmlab.install import WAY
from boxcam.export.sources.openmmlab.mmyolo_parts import SCOPE, require


def recognises(arguments: tuple[str, ...]) -> bool:
    """An mmyolo config (.py, .json, .yaml) and a checkpoint (.pth, .pt)."""
    return is_pair(arguments) and scope(arguments[0]) == SCOPE


def load(request: Request, progress: Progress) -> SourceModel:
    """Export an mmyolo model.

    Raises:
        SourceError: config and checkpoint are at fault, or mmyolo is not installed.
        MissingOperatorError: the model needs compiled mmcv.
    """
    require()
    from boxcam.export.sources.openmmlab.export import load

    return load(request, progress, SCOPE)


SOURCE = Source(
    usage="CONFIG.py CHECKPOINT.pth",
    recognises=recognises,
    load=load,
    meaning="a config of mmyolo, and its checkpoint",
    extra="mmyolo",
    packages=(*mmdet.PACKAGES, "mmyolo"),
    install=WAY,
)
