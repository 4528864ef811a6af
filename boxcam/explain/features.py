"""Feature maps of a run, as methods ask for them."""

from __future__ import annotations

from boxcam.bundle import Layer
from boxcam.explain.methods import Method
from boxcam.plurals import verb
from boxcam.runtime.model import Model, Prediction
from boxcam.types import Float, Patch


class FeatureMaps:
    """The feature maps of a run, and what was seen of those that a method was given.

    Attributes:
        prediction: the run.
        unsuited: names of layers whose maps have negative values, though the method that was given them supposes that
            they have none (`Method.rectified`).
    """

    def __init__(self, model: Model, prediction: Prediction) -> None:
        self.prediction = prediction
        self.unsuited: list[str] = []
        self._model = model

    def of(self, method: Method, layer: Layer, patch: Patch) -> Float:
        """The map that a patch is of: float32 [C, H, W]."""
        found: Float = self._model.activation(self.prediction, layer, patch)
        if method.rectified and layer.name not in self.unsuited and bool((found < 0).any()):
            self.unsuited.append(layer.name)
        return found


def on_negative_features(method: str, features: FeatureMaps) -> str:
    """What to say where a method for rectified features was given others; else nothing."""
    if not features.unsuited:
        return ""
    names, number = ", ".join(map(repr, features.unsuited)), len(features.unsuited)
    return (
        f"the method {method!r} is for rectified features, as a ReLU makes them, but {verb(number, 'layer', 'layers')}"
        f' {names} {verb(number, "has", "have")} negative values, so its weights mean little. Use method="hirescam" or'
        ' method="layercam", which are for any features.'
    )
