"""boxcam: why did a deployed detector draw this box?

    import boxcam

    model = boxcam.load("retinanet.boxcam")
    explanation = boxcam.explain(model, "street.jpg", method="gradcam", layer="neck")
    explanation.detections.boxes, explanation.maps

Importing boxcam loads nothing else; each name below is imported when it is first used.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from boxcam._version import __version__ as __version__

if TYPE_CHECKING:
    from boxcam.errors import BoxcamError as BoxcamError
    from boxcam.errors import BoxcamWarning as BoxcamWarning
    from boxcam.explain.explainer import Explanation as Explanation
    from boxcam.explain.explainer import explain as explain
    from boxcam.export.pipeline import export as export
    from boxcam.runtime.model import Model as Model
    from boxcam.types import Detections as Detections


_WHERE = {
    "BoxcamError": "boxcam.errors",
    "BoxcamWarning": "boxcam.errors",
    "Detections": "boxcam.types",
    "Explanation": "boxcam.explain.explainer",
    "Model": "boxcam.runtime.model",
}
__all__ = ["BoxcamError", "BoxcamWarning", "Detections", "Explanation", "Model", "explain", "export", "load", "methods"]


def load(
    path: str | os.PathLike[str],
    *,
    threads: int = 0,
    device: str = "cpu",
    providers: str | Sequence[str] = (),
) -> Model:
    """Open a bundle.

    Args:
        path: the bundle's directory, as `boxcam export` wrote it.
        threads: CPU threads to use, 0 for as many as there are cores.
        device: ``cpu``, or ``cuda`` for the forward pass and the gradient on an NVIDIA GPU.
        providers: names of ONNX Runtime's execution providers, the preferred one first, instead of the device's.

    Raises:
        BundleError: the bundle is missing, altered, broken, or of a newer version.
        EngineError: ONNX Runtime is not installed, or twice.
        UnknownNameError: there is no such device or provider.

    Warns:
        BoxcamWarning: the device or a provider cannot be used, and the CPU is instead.
    """
    from boxcam.runtime.model import Model

    return Model(path, threads=threads, device=device, providers=providers)


def methods() -> tuple[str, ...]:
    """Names of the CAM methods."""
    from boxcam.explain.methods import METHODS

    return METHODS.names()


def __getattr__(name: str) -> Any:
    if name in ("explain", "export"):  # packages that can be called, see there
        return importlib.import_module(f"boxcam.{name}")
    if name not in _WHERE:
        raise AttributeError(f"module 'boxcam' has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
