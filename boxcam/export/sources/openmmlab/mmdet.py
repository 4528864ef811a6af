"""mmdet: a config and a checkpoint, through mmdeploy."""

from __future__ import annotations

from boxcam.export.source import SOURCES, Source
from boxcam.export.sources.openmmlab import config as mmdet_config
from boxcam.export.sources.openmmlab.export import is_pair, load


def recognises(arguments: tuple[str, ...]) -> bool:
    """A config (.py, .json, .yaml) that is not mmyolo's, and a checkpoint (.pth, .pt)."""
    return is_pair(arguments) and mmdet_config.scope(arguments[0]) != "mmyolo"


SOURCES.register("mmdet")(Source("CONFIG.py CHECKPOINT.pth", recognises, load))
