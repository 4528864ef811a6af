"""The bounds of a manifest's values, at their edges: the last one that is allowed, and the first that is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from boxcam.bundle import ClassAxis, Logits, Manifest, Tensor, bounds
from tests.manifest_of_all import MANIFEST_OF_ALL as FINE

Change = Callable[[Any], Manifest]


def preprocess(**fields: Any) -> Manifest:
    return replace(FINE, preprocess=replace(FINE.preprocess, **fields))


def outputs(**fields: Any) -> Manifest:
    return replace(FINE, outputs=replace(FINE.outputs, **fields))


def layer(**fields: Any) -> Manifest:
    return replace(FINE, layers=(replace(FINE.layers[0], **fields), *FINE.layers[1:]))


def tensor(**fields: Any) -> Manifest:
    return layer(tensors=(replace(FINE.layers[0].tensors[0], **fields), *FINE.layers[0].tensors[1:]))


def gradient(**fields: Any) -> Manifest:
    return layer(gradients=(replace(FINE.layers[0].gradients[0], **fields), *FINE.layers[0].gradients[1:]))


def head(**fields: Any) -> Manifest:
    return layer(heads=(FINE.layers[0].heads[0], replace(FINE.layers[0].heads[1], **fields)))


def windows(**fields: Any) -> Manifest:
    return layer(heads=(replace(FINE.layers[0].heads[0], **fields),))


def target(*ends: Logits, **fields: Any) -> Manifest:
    changed = replace(FINE.targets[0], **{"ends": ends or FINE.targets[0].ends, **fields})
    return replace(layer(heads=()), targets=(changed, *FINE.targets[1:]))


def labelled(*labels: str) -> Manifest:
    return replace(target(Logits("a", (), "b")), labels=labels)


def side(pixels: int) -> Manifest:
    return preprocess(height=pixels, fit_height=1, width=1, fit_width=1)


def area(pixels: int) -> Manifest:
    return preprocess(height=1 << 14, width=pixels, fit_height=1, fit_width=1)


def fitted(pixels: int) -> Manifest:
    """What the image is resized to: larger than the model's input where the middle is cut out of it."""
    given = {"height": 1, "width": 1, "resize": "cover", "pad_to": "center"}
    return preprocess(**given, fit_height=1 << 14, fit_width=pixels)


def named(count: int, name: str = "a") -> tuple[str, ...]:
    return tuple(f"{name}{number}" for number in range(count))


def tensors(count: int) -> Manifest:
    return layer(tensors=tuple(Tensor(name, 1, 1, 1, (1.0, 1.0)) for name in named(count)))


EDGES: dict[str, tuple[Change, list[Any], list[Any]]] = {
    "labels": (lambda n: labelled(*[""] * n), [0, 200_000], [200_001]),
    "letters of a label": (lambda n: labelled("x" * n), [0, 1000], [1001]),
    "letters of the input's name": (lambda n: replace(FINE, input="x" * n), [1, 1000], [0, 1001]),
    "letters of a source": (lambda n: replace(FINE, source={"a": "x" * n}), [0, 100_000], [100_001]),
    "figures": (
        lambda value: replace(FINE, verification={"a": value}),
        [1e308, -1e308],
        [float("nan"), float("inf")],
    ),
    "a side": (side, [1, 1 << 15], [(1 << 15) + 1]),
    "an area": (area, [1 << 14], [(1 << 14) + 1]),
    "an area to be resized to": (fitted, [1 << 14], [(1 << 14) + 1]),
    "a multiple": (lambda n: preprocess(multiple=n), [0, 1, 4096], [4097]),
    "a mean": (lambda value: preprocess(mean=(value, 0, 0)), [1e6, -1e6], [1.001e6, -1.001e6]),
    "what pads": (lambda value: preprocess(pad_value=(0, 0, value)), [1e6, -1e6], [1.001e6, -1.001e6]),
    "a spread": (lambda value: preprocess(std=(1, value, 1)), [1e-6, 1e6], [0.999e-6, 1.001e6]),
    "columns of boxes": (
        lambda columns: outputs(box_columns=columns, score_column=columns[1]),
        [(0, 4), (65532, 65536)],
        [(-1, 3), (65533, 65537), (0, 5), (0, 3)],
    ),
    "a column of scores": (
        lambda column: outputs(box_columns=(1, 5), score_column=column),
        [0, 5, 65536],
        [-1, 1, 4, 65537],
    ),
    "one tensor without columns": (lambda scores: outputs(scores=scores, box_columns=None), ["other"], ["dets"]),
    "one tensor without a column": (lambda scores: outputs(scores=scores, score_column=None), ["other"], ["dets"]),
    "letters of an output": (lambda n: outputs(labels="x" * n), [1, 1000], [0, 1001]),
    "targets": (lambda n: replace(layer(gradients=(), heads=()), targets=FINE.targets[:n]), [1, 2], [0]),
    "tensors of a target": (lambda n: target(*[Logits("a", (), "b")] * n), [1, 10_000], [10_001]),
    "axes of a target": (lambda n: target(Logits("a", (1,) * n, "b")), [0, 32], [33]),
    "a size of a target": (lambda n: target(Logits("a", (None, n), "b")), [0, 1 << 40], [-1, (1 << 40) + 1]),
    "a name of a target's tensor": (lambda name: target(Logits(name, (), "b")), ["a"], [""]),
    "classes of a target": (
        lambda way: target(Logits("a", (2, None), "b", ClassAxis(*way))),
        [(0, 1), (1, 1), (1, 1 << 40)],
        [(-1, 1), (2, 1), (0, 0), (0, 2), (1, -1), (1, (1 << 40) + 1)],
    ),
    "names of classes": (
        lambda n: replace(target(Logits("a", (4,), "b", ClassAxis(0, 1))), labels=named(n)),
        [2, 4],
        [0, 1, 5],
    ),
    "classes of another target": (
        lambda name: target(Logits("a", (2,), "b", ClassAxis(0, 1)), name=name),
        ["logit"],
        ["score"],
    ),
    "classes of a classifier": (
        lambda whole: replace(
            target(Logits("a", (2,), "b", ClassAxis(0, 1))), outputs=replace(FINE.outputs, whole_image=whole)
        ),
        [False],
        [True],
    ),
    "an origin": (lambda name: target(origin=name), ["a"], [""]),
    "layers": (lambda n: replace(FINE, layers=tuple(replace(FINE.layers[0], name=x) for x in named(n))), [1], [0]),
    "tensors": (tensors, [1, 10_000], [0, 10_001]),
    "channels": (lambda n: tensor(channels=n), [1, 1 << 20], [0, (1 << 20) + 1]),
    "a height": (lambda n: tensor(height=n), [None, 1, 1 << 15], [0, (1 << 15) + 1]),
    "a width": (lambda n: tensor(width=n), [None, 1, 1 << 15], [0, (1 << 15) + 1]),
    "a stride": (lambda value: tensor(stride=(1.0, value)), [1e-3, 1e6], [0.999e-3, 1.001e6]),
    "a centre": (lambda value: tensor(center=(0.0, value)), [-1e6, 1e6], [-1.001e6, 1.001e6]),
    "a receptive field": (lambda n: tensor(receptive_field=n), [None, 1, 1 << 31], [0, (1 << 31) + 1]),
    "context": (lambda n: gradient(context=named(n)), [0, 10_000], [10_001]),
    "letters of a reason": (lambda n: gradient(reason="x" * n), [0, 10_000], [10_001]),
    "boxes at once": (lambda n: gradient(boxes_at_once=n), [1, 1 << 20], [0, (1 << 20) + 1]),
    "an engine's file": (lambda name: gradient(file=name), ["a.onnx"], ["a.pt"]),
    "an engine's other file": (lambda name: gradient(means=name), ["", "a.onnx"], ["a.pt"]),
    "heads": (lambda n: layer(heads=FINE.layers[0].heads[:1] * n), [0, 1], [2]),
    "a head's file": (lambda name: head(file=name), ["a.onnx"], ["a.pt", "a"]),
    "a head's end": (lambda name: head(end=name), ["decoded"], ["cls", "other"]),
    "a head's context": (lambda n: head(context=named(n), rows=()), [0, 10_000], [10_001]),
    "a head's rows": (lambda names: head(rows=names), [(), ("lateral_0",)], [("other",)]),
    "a name in a head's context": (lambda name: head(context=(name,), rows=()), ["a"], [""]),
    "context of what runs on windows": (lambda names: windows(context=names), [()], [("a",)]),
    "what runs on windows gives a map": (lambda end: windows(end=end), ["cls"], ["decoded"]),
    "files of heads": (lambda name: head(file=name), ["a.onnx"], ["head.neck.onnx"]),
    "several of what runs on windows": (lambda several: windows(batch=several), [True], [False]),
    "files": (
        lambda name: replace(FINE, files={name: "0"}),
        ["a", "a/b.c", "x" * 1000, "é"],
        ["", ".", "..", "a/../b", "/a", "a\\b", "c:a", "x" * 1001, "a\n"],
    ),
}


@pytest.mark.parametrize("case", EDGES)
def test_the_last_that_is_allowed_and_the_first_that_is_not(case: str) -> None:
    change, allowed, refused = EDGES[case]
    for value in allowed:
        bounds.check(change(value))
    for value in refused:
        manifest = change(value)  # which can be made: it is the bounds that refuse it
        with pytest.raises(ValueError):
            bounds.check(manifest)


@pytest.mark.parametrize(
    ("fields", "fine"),
    [
        ({"mean": (0, 0, 0), "std": (1, 1, 255 / 65504)}, True),
        ({"mean": (0, 0, 0), "std": (1, 1, 255 / 65600)}, False),
        ({"mean": (65504, 0, 0), "std": (1, 1, 1)}, True),  # a pixel of 0
        ({"mean": (65600, 0, 0), "std": (1, 1, 1)}, False),
        ({"mean": (-65249, 0, 0), "std": (1, 1, 1)}, True),  # a pixel of 255
        ({"mean": (-65300, 0, 0), "std": (1, 1, 1)}, False),
        ({"mean": (0, 0, 0), "std": (2, 2, 2), "pad_value": (0, 65504, 0)}, True),
        ({"mean": (0, 0, 0), "std": (2, 2, 2), "pad_value": (0, 65600, 0)}, False),
        ({"mean": (0, 0, 0), "std": (2, 2, 2), "pad_value": (0, 65600, 0), "pad_before_normalize": True}, True),
        ({"mean": (0, -65000, 0), "std": (2, 2, 2), "pad_value": (0, 66100, 0), "pad_before_normalize": True}, False),
    ],
)
def test_what_float16_holds(fields: dict[str, Any], fine: bool) -> None:
    given = {"pad_value": (0.0, 0.0, 0.0), **fields}
    bounds.check_preprocess(preprocess(**given).preprocess)
    half = preprocess(**given, dtype="float16").preprocess
    if fine:
        bounds.check_preprocess(half)
    else:
        with pytest.raises(ValueError, match=r"normalised pixels are up to 6\d+\.?\d*, and float16 holds 65504"):
            bounds.check_preprocess(half)
