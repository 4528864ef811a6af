"""Maps of methods that run the model again, on the image behind the channels of a layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from boxcam.bundle import Layer
from boxcam.errors import EngineError
from boxcam.explain.changed_input import ChangedInput
from boxcam.explain.evidence import Part
from boxcam.explain.methods import ChannelMasks
from boxcam.explain.methods.arithmetic import weighted
from boxcam.explain.options import Options
from boxcam.runtime.engines import Patches
from boxcam.runtime.model import Model, Prediction
from boxcam.runtime.preprocess import Transform, prepare
from boxcam.types import CellMap, Float, Image


def channel_parts(
    model: Model,
    method: ChannelMasks,
    layer: Layer,
    options: Options,
    image: Image,
    prediction: Prediction,
    boxes: Sequence[int],
    progress: Callable[[int], None],
) -> tuple[tuple[Part, ...], ...]:
    """Of each box, ReLU(Σₖ wₖ Aₖ) by each tensor of a layer that it depends on.

    Args:
        model, method, layer, options: what is asked for.
        image: as `Model.predict` takes it.
        prediction: of the image, made with ``ends``.
        boxes: indices into its detections.
        progress: called with how many more of `count_channels` are done.

    Raises:
        EngineError: the bundle does not tell the target of a box in another forward pass.
    """
    found = list(model.patches(prediction, layer, boxes, options.engine, target=options.target, means=True))
    tensors = sorted({patch.tensor for of in found for patch in of})
    maps = {tensor: prediction.outputs[layer.tensors[tensor].name][0] for tensor in tensors}
    tensor, place = prepare(image, model.manifest.preprocess)
    changed = ChangedInput(tensor, place, model.manifest.preprocess)
    scores: dict[int, npt.NDArray[np.float64]] = {}
    progress(count_channels(layer) - sum(map(len, maps.values())))
    for number, features in maps.items():
        scores[number] = np.full((len(boxes), len(features)), np.nan)
        for channel, values in enumerate(features):
            mask = enlarged(values, place, changed)
            if mask is not None:
                passed = model.forward(changed.masked(changed.pixels, mask), place, target=options.target, ends=True)
                targets = model.at_origin(passed, prediction, boxes, options.target)
                if targets is None:
                    raise EngineError(
                        f"bundle {model.path} was exported by an earlier boxcam and does not give the numbers that are"
                        " explained in other images. Export the model again, or choose another method."
                    )
                scores[number][:, channel] = targets
            progress(1)
    return tuple(_parts(model, method, layer, prediction, of, box, maps, scores) for box, of in enumerate(found))


def count_channels(layer: Layer) -> int:
    """How many channels the tensors of a layer have; those of tensors that no box depends on are passed over."""
    return sum(tensor.channels for tensor in layer.tensors)


def enlarged(values: Float, place: Transform, changed: ChangedInput) -> Float | None:
    """A channel as a mask of the image on the model's input: float32 [height, width], 0..1; None if it is even.

    Args:
        values: float32 [h, w], over the whole of the model's input.
        place: where the image lies on that.
        changed: the part that shows it.
    """
    size = place.canvas_width, place.canvas_height
    large = np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_LINEAR), np.float32)
    (y, x), (height, width) = changed.corner, changed.pixels.shape[1:]
    seen = large[y : y + height, x : x + width]
    low, high, _, _ = cv2.minMaxLoc(seen)
    if not high > low:
        return None
    seen -= np.float32(low)
    seen /= np.float32(high - low)
    return seen


def _parts(
    model: Model,
    method: ChannelMasks,
    layer: Layer,
    prediction: Prediction,
    found: Patches,
    box: int,
    maps: dict[int, Float],
    scores: dict[int, npt.NDArray[np.float64]],
) -> tuple[Part, ...]:
    """The maps of one box."""
    mine = {patch.tensor: patch for patch in found}
    if not mine:
        return ()
    weights = method.weigh(np.concatenate([scores[tensor][box] for tensor in mine]))
    parts, first = [], 0
    for tensor, patch in mine.items():
        features = maps[tensor]
        (values,) = weighted([weights[first : first + len(features)]], features)
        first += len(features)
        cells = CellMap(np.maximum(values, 0), (0, 0))
        parts.append(Part(layer.tensors[tensor].name, cells, model.grid(prediction, layer, patch)))
    return tuple(parts)
