"""boxcam: why did a deployed detector draw this box?

    import boxcam

    model = boxcam.load("retinanet.boxcam")
    explanation = boxcam.explain(model, "street.jpg", layer="neck")
    explanation.save("out")
    for box in explanation:
        box.name, box.score, box.map

Importing boxcam loads nothing else; what a function or a class needs is imported when it is first used.
"""

from __future__ import annotations

import importlib
import sys
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from boxcam._api import evaluate as evaluate
from boxcam._api import explain as explain
from boxcam._api import export as export
from boxcam._api import limits as limits
from boxcam._api import load as load
from boxcam._api import methods as methods
from boxcam._version import __version__ as __version__
from boxcam.errors import BoxcamError as BoxcamError
from boxcam.errors import BoxcamWarning as BoxcamWarning

if TYPE_CHECKING:
    from boxcam.bundle import Manifest as Manifest
    from boxcam.explain.box import ExplainedBox as ExplainedBox
    from boxcam.explain.candidate import Candidate as Candidate
    from boxcam.explain.evaluation.evaluation import Evaluation as Evaluation
    from boxcam.explain.explanation import Explanation as Explanation
    from boxcam.model import Model as Model
    from boxcam.types import Detections as Detections
    from boxcam.types import ImageLike as ImageLike


_TYPES = {
    "Candidate": "boxcam.explain.candidate",
    "Detections": "boxcam.types",
    "Evaluation": "boxcam.explain.evaluation.evaluation",
    "ExplainedBox": "boxcam.explain.box",
    "Explanation": "boxcam.explain.explanation",
    "ImageLike": "boxcam.types",
    "Manifest": "boxcam.bundle",
    "Model": "boxcam.model",
}
__all__ = [
    "BoxcamError",
    "BoxcamWarning",
    "Candidate",
    "Detections",
    "Evaluation",
    "ExplainedBox",
    "Explanation",
    "ImageLike",
    "Manifest",
    "Model",
    "evaluate",
    "explain",
    "export",
    "limits",
    "load",
    "methods",
]


if not TYPE_CHECKING:  # which would take every name for one of the package

    def __getattr__(name: str) -> Any:
        if name not in _TYPES:
            raise AttributeError(f"module 'boxcam' has no attribute {name!r}")
        return getattr(importlib.import_module(_TYPES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)


class _Package(ModuleType):
    """This package. Two functions have the name of a folder in it, and importing from there leaves them in place."""

    def __setattr__(self, name: str, value: Any) -> None:
        function = vars(self).get(name)
        if isinstance(value, ModuleType) and isinstance(function, FunctionType):
            # Python puts a folder that it has imported into the package under its name. The function stays there, and
            # what lies in the folder is found through it, as by `import boxcam.explain.methods as methods`.
            function.__dict__ = vars(value)
            return
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
