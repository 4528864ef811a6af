"""Whether the features that a method was given are such as it supposes."""

from __future__ import annotations

from collections.abc import Sequence

from boxcam.explain.evidence import Parts
from boxcam.explain.methods import Method
from boxcam.explain.plan import View
from boxcam.plurals import verb
from boxcam.runtime.model import Prediction


def on_negative_features(method: str, views: Sequence[View], made: Sequence[Parts], prediction: Prediction) -> str:
    """What to say where a method for rectified features was given others; else nothing.

    Args:
        method: its name.
        views: what was computed.
        made: of each view, the maps, which tell the tensors that they are of.
        prediction: the run that these are of.
    """
    found = []
    for view, parts in zip(views, made, strict=True):
        if isinstance(view.method, Method) and view.method.rectified:
            tensors = dict.fromkeys(part.tensor for of in parts for part in of)
            if any(bool((prediction.outputs[name] < 0).any()) for name in tensors):
                found.append(view.layer.name)
    if not found:
        return ""
    names, number = ", ".join(map(repr, found)), len(found)
    return (
        f"the method {method!r} is for rectified features, as a ReLU makes them, but {verb(number, 'layer', 'layers')}"
        f" {names} {verb(number, 'has', 'have')} negative values, so its weights mean little. Use"
        ' method="hirescam" or method="layercam", which are for any features.'
    )
