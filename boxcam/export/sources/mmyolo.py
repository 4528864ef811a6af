"""mmyolo: a config and a checkpoint; its detectors are mmdet's, built of parts and read by steps that mmyolo adds.

mmyolo is under the GPL and never needed: this file only calls it where the user has installed it.
"""

from __future__ import annotations

import importlib.util
from typing import Any

from boxcam.errors import SourceError
from boxcam.export.source import SOURCES, Progress, Request, Source, Way
from boxcam.export.sources import mmdet, mmdet_config

SCOPE = "mmyolo"
"""What ``default_scope`` of its configs is."""


def recognises(arguments: tuple[str, ...]) -> bool:
    """An mmyolo config (.py, .json, .yaml) and a checkpoint (.pth, .pt)."""
    return mmdet.is_pair(arguments) and mmdet_config.scope(arguments[0]) == SCOPE


def load(request: Request, progress: Progress) -> Source:
    """Export an mmyolo model.

    Raises:
        SourceError: config and checkpoint are at fault, or mmyolo is not installed.
        MissingOperatorError: the model needs compiled mmcv.
    """
    require()
    return mmdet.load(request, progress, SCOPE)


def require() -> None:
    """Raises SourceError if mmyolo is not installed."""
    if importlib.util.find_spec(SCOPE) is None:
        raise SourceError(
            "an mmyolo model cannot be exported here: mmyolo is not installed. Install boxcam's 'mmyolo' extra (or"
            " mmyolo==0.6.0, which is under the GPL-3.0, beside mmdet); explaining a bundle does not need it."
        )


def register() -> None:
    """Make mmyolo's parts known to the registries."""
    require()
    from mmyolo.utils import register_all_modules

    register_all_modules(init_default_scope=False)


def switch_to_deploy(model: Any) -> None:
    """Merge the branches of blocks that are one convolution when deployed (RepVGG), as mmyolo's own export does."""
    from mmyolo.utils.misc import switch_to_deploy as switch

    switch(model)


SOURCES.register(SCOPE)(Way("CONFIG.py CHECKPOINT.pth of mmyolo", recognises, load))
