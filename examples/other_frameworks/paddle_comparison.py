"""How far boxcam's boxes and gradients are from those of the live model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from comparison import Array, Explained, apart, other_rows
from paddle_models import Model, captured, inputs, last, rows_of

import boxcam
from boxcam.runtime.images import read_image

TIES = 20  # one proposal in so many, and at least one, may be another: of two that suppress each other, or at the cut
PIXELS = 0.1  # how far apart the sides of the same box are
SAME = 0.01  # how far apart tensors of both are, as a share of the largest number, if they are the same


def expected_gradients(
    model: Any, about: Model, found: Explained, boxes: Array, pairs: Sequence[tuple[int, int]], own: bool, most: int
) -> tuple[dict[int, list[Array]], float, float]:
    """The live model's gradients of boxes that depend on a layer.

    Args:
        model: the live one.
        about: what it is.
        found: boxcam's explanation.
        boxes: the live model's.
        pairs: boxcam's boxes and the live model's.
        own: whether the live model computes the layer itself, and does not go on with boxcam's numbers.
        most: boxes to compare.

    Returns:
        By the live model's box, the gradients by the layer's tensors, [C, H, W]; how far boxcam's are from them; how
        far the layer's tensors are.
    """
    features, rows, difference = run(model, about, found, own)
    probabilities = paddle.nn.functional.softmax(rows) if about.softmax else paddle.nn.functional.sigmoid(rows)
    errors, result = [], {}
    for mine, theirs in ((mine, theirs) for mine, theirs in pairs if mine < len(found.gradients)):
        if len(errors) == most:
            break
        label, score = int(boxes[theirs, 0]), boxes[theirs, 1]
        gaps = np.abs(probabilities.numpy()[:, label] - score)
        # Several may have this score but for rounding: of proposals it is known which, and another one of a map would
        # have its gradient elsewhere.
        alike = [int(found.origins[mine][1])] if about.two_stages else np.flatnonzero(gaps < 1e-5)
        if not len(alike) or gaps[alike].max() > 1e-3:
            raise SystemExit(f"box {mine} has the score {score:.4f}, which the live model gives to no such place")
        tried = []
        for place in alike:
            arrays = gradient_of(rows[int(place), label], features)
            pooled = about.two_stages and len(features[0]) > 1
            row = int(place) if pooled else 0
            if (pooled and found.rows[mine] != row) or any(np.delete(array, row, 0).any() for array in arrays):
                raise SystemExit(f"box {mine} is of the proposal {row}, and boxcam explains {found.rows[mine]}")
            tried.append([array[row] for array in arrays])
        if not any(array.any() for array in (*tried[0], *found.gradients[mine])):
            continue  # of another level
        error, best = min((apart(found.gradients[mine], arrays), number) for number, arrays in enumerate(tried))
        errors.append(error)
        result[theirs] = tried[best]
    return result, max(errors, default=0.0), difference


def gradient_of(logit: paddle.Tensor, features: list[paddle.Tensor]) -> list[Array]:
    """The gradient of a number by each of some tensors."""
    found = paddle.grad(logit, features, retain_graph=True, allow_unused=True)
    return [
        np.zeros(tuple(feature.shape), np.float32) if gradient is None else gradient.numpy()
        for gradient, feature in zip(found, features, strict=True)
    ]


def run(model: Any, about: Model, found: Explained, own: bool) -> tuple[list[paddle.Tensor], paddle.Tensor, float]:
    """Run the live model, and hold on to a layer's tensors: what its layers give, or its head
    reads, in which boxcam's are found.

    A two-stage model gets boxcam's proposals, which have to be its own but for rounding, order and ties.

    Args:
        model: the live one.
        about: what it is.
        found: boxcam's explanation.
        own: False: the model goes on with boxcam's numbers instead. Rounded in another way, they would have a slightly
            other gradient.

    Returns:
        The tensors to differentiate by; the class logits, [N, C]; how far the live model's own features are from
        boxcam's, as a share of the largest number.
    """
    held: dict[int, paddle.Tensor] = {}
    differences = [np.inf] * len(found.features)

    def given(value: Any) -> Any:
        if isinstance(value, list):
            return [given(one) for one in value]
        if not isinstance(value, paddle.Tensor):
            return value
        for number, mine in enumerate(found.features):
            if number in held or tuple(value.shape) != mine.shape:
                continue
            apart_by = float(np.abs(value.numpy() - mine).max() / np.abs(mine).max())
            differences[number] = min(differences[number], apart_by)
            if apart_by < SAME:
                held[number] = paddle.to_tensor(value.numpy() if own else mine, stop_gradient=False)
                return held[number]
        return value

    if found.rois is not None:
        others = other_rows(found.rois, proposals_of(model, found.input), PIXELS)
        if others > max(len(found.rois) // TIES, 1):
            raise SystemExit(f"{others} of boxcam's {len(found.rois)} proposals are others than the live model's")
        if others:
            print(f"{'':20} {others} of {len(found.rois)} proposals are others: ties in rounding", flush=True)
    head = getattr(model, about.head)
    parts = [layer for layer in model.sublayers() if layer is not head]
    handles = [layer.register_forward_post_hook(lambda layer, read, gives: given(gives)) for layer in parts]
    # Of maps that a function gave, and no layer, the head is the only reader that matters.
    handles.append(head.register_forward_pre_hook(lambda layer, read: (given(read[0]), *read[1:])))
    if found.rois is not None:
        rois = [paddle.to_tensor(found.rois)]
        handles.append(model.rpn_head.register_forward_post_hook(lambda layer, read, gives: (rois, *gives[1:])))
    image = inputs(found.input)
    image["image"].stop_gradient = False  # also where the weights of the first layers are not to be trained
    with captured(last(model, about, about.scores)) as logits:
        model(image)
    for handle in handles:
        handle.remove()
    if len(held) < len(found.features):
        raise SystemExit(f"the live model has nothing like boxcam's {[list(f.shape) for f in found.features]}")
    return [held[number] for number in range(len(held))], rows_of(logits, about), max(differences)


def pair(boxes: Array, bundle: Path, picture: Path) -> tuple[list[tuple[int, int]], float]:
    """Boxes of both, each once, by class, score and place on the input, and how far they are apart at most.

    Args:
        boxes: [K, 6], the live model's: class, score, x1 y1 x2 y2 in pixels of the input.
        bundle: boxcam's.
        picture: which both have seen.
    """
    model = boxcam.load(bundle, threads=1)
    prediction = model.runtime.predict(read_image(picture))
    mine = prediction.outputs[model.manifest.outputs.boxes].reshape(-1, 4)[prediction.rows]
    left = np.ones(len(boxes), bool)
    pairs, worst = [], 0.0
    for number, (box, label, score) in enumerate(
        zip(mine, prediction.detections.labels, prediction.detections.scores, strict=True)
    ):
        apart_by = np.abs(boxes[:, 2:] - box).max(1) + 1e6 * (boxes[:, 0] != label) + 100 * np.abs(boxes[:, 1] - score)
        best = int(np.where(left, apart_by, np.inf).argmin())
        if left[best] and apart_by[best] < PIXELS:
            left[best] = False
            pairs.append((number, best))
            worst = max(worst, float(np.abs(boxes[best, 2:] - box).max()))
    return pairs, worst


def proposals_of(model: Any, image: Array) -> Array:
    """The live model's proposals, [R, 4]."""
    with captured([model.rpn_head]) as given:
        model(inputs(image))
    boxes, _, _ = given[0]
    return paddle.concat(boxes).numpy()
