"""What mmyolo adds to mmdet: its registries, and its switch to deployment."""

from __future__ import annotations

import importlib.util
from typing import Any

from boxcam.errors import SourceError

SCOPE = "mmyolo"

"""What ``default_scope`` of its configs is."""


def require() -> None:
    """Raises SourceError if mmyolo is not installed."""
    if importlib.util.find_spec(SCOPE) is None:
        raise SourceError(
            "an mmyolo model cannot be exported here: mmyolo is not installed. Install boxcam's 'mmyolo' extra, or"
            " mmyolo==0.6.0 in addition to mmdet; its licence is GPL-3.0. Explaining a bundle does not need it."
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
