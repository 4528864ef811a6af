"""Every file here is read wrongly, and each is refused, warned of or asked about; the number is printed with ``-s``."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from boxcam.bundle import Finding
from tests.export.sources.onnx.deployed import Body, cxcywh_graph
from tests.export.verify.plausible.readings import (
    CLASSES,
    FORMS,
    INSIDE,
    NAMED,
    PLAIN,
    against,
    in_format,
    raw,
    reading,
    write,
)  # fmt: skip


def formats() -> Iterator[Any]:
    """Boxes of one format that are read in another."""
    for form, scale in itertools.product(FORMS, ("pixels", "normalized", "grid")):
        for read_form, read_scale in itertools.product(FORMS, ("pixels", "normalized")):
            if (form, scale) != (read_form, read_scale):
                yield pytest.param(form, scale, read_form, read_scale, id=f"{form} {scale} as {read_form} {read_scale}")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Files by name, each made once."""
    folder, known = tmp_path_factory.mktemp("readings"), {}

    def get(name: str, wrap: Any, outputs: tuple[str, ...], classes: int = 3) -> Path:
        if name not in known:
            known[name] = write(folder / f"{re.sub(r'[^a-z0-9]+', '_', name.lower())}.onnx", wrap, outputs, classes)
        return known[name]

    return get


@pytest.mark.parametrize(("form", "scale", "read_form", "read_scale"), list(formats()))
def test_boxes_in_another_format(written: Any, form: str, scale: str, read_form: str, read_scale: str) -> None:
    def wrap(body: Body, image: Tensor) -> Any:
        boxes, logits = body(image)
        return in_format(boxes, form, scale), logits.sigmoid()

    file = written(f"{form} {scale}", wrap, ("boxes", "scores"))
    found = against(file, box_format=read_form, box_scale=read_scale, **NAMED)
    assert {"boxes", "place", "asked", "warned"} & set(found), (
        f"{form} {scale} was believed to be {read_form} {read_scale}"
    )


def ltrb(body: Body, image: Tensor) -> Any:
    """Distances to the sides, in cells, as of FCOS without its points."""
    return raw(body, image).sigmoid() + 0.3, body(image)[1].sigmoid()


OFFSETS = {
    "YOLOX without its grid": lambda body, image: (
        torch.cat([raw(body, image)[..., :2], raw(body, image)[..., 2:].exp()], 2),
        body(image)[1].sigmoid(),
    ),
    "SSD without its priors": lambda body, image: (
        raw(body, image) * torch.tensor([0.1, 0.1, 0.2, 0.2]),
        body(image)[1].sigmoid(),
    ),
    "distances without their points": ltrb,
    "offsets in pixels": lambda body, image: (raw(body, image) * 100, body(image)[1].sigmoid()),
    "offsets per anchor": lambda body, image: (
        raw(body, image) * torch.tensor([10.0, 13, 16, 30]) + torch.tensor([1.0, 2, 3, 4]),
        body(image)[1].sigmoid(),
    ),
}


@pytest.mark.parametrize("kind", OFFSETS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("scale", ["pixels", "normalized"])
def test_offsets_as_boxes(written: Any, kind: str, form: str, scale: str) -> None:
    file = written(kind, OFFSETS[kind], ("boxes", "scores"))
    found = against(file, box_format=form, box_scale=scale, **NAMED)
    decoded = found["decoded"]
    assert isinstance(decoded, Finding)
    assert decoded.verdict == "implausible"
    assert decoded.sentence.startswith(f"{file}: the boxes are offsets")
    assert 'decode=. If it is right as it is, pass accept="decoded".' in decoded.sentence


def test_offsets_of_a_yolo_in_one_tensor(written: Any) -> None:
    """YOLOX as it is exported without decoding, taken for a YOLOv5."""

    def wrap(body: Body, image: Tensor) -> Any:
        return torch.cat([raw(body, image), body(image)[1].sigmoid()], 2)

    file = written("yolox", wrap, ("output",), classes=4)
    found = against(file, class_names=["a", "b", "c"], preprocess=PLAIN, box_scale="pixels")
    assert {"decoded", "asked"} & set(found)


def columns(extra: Any, activated: bool = True) -> Any:
    """Boxes, class scores and something else in one tensor, [1, 4 + C + m, N]."""

    def wrap(body: Body, image: Tensor) -> Any:
        boxes, logits = body(image)
        scores = logits.sigmoid() if activated else logits
        return torch.cat([cxcywh_graph(boxes), scores, extra(body, boxes)], 2).transpose(1, 2)

    return wrap


EXTRAS = {
    "keypoints": lambda body, boxes: torch.cat(
        [boxes[..., :2] + 3, boxes[..., 2:3].sigmoid(), boxes[..., 2:] - 3, boxes[..., 3:].sigmoid()], 2
    ),
    "angles": lambda body, boxes: ((boxes[..., :1] - 40).sigmoid() - 0.25) * 3.14159,
    "coefficients of masks": lambda body, boxes: torch.cat([(boxes - 40) / 20] * 2, 2).tanh() * 2,
    "landmarks in pixels": lambda body, boxes: torch.cat([boxes, boxes, boxes[..., :2]], 2),
    "embeddings": lambda body, boxes: torch.cat([(boxes - 30) / 10] * 4, 2),
}


@pytest.mark.parametrize("kind", EXTRAS)
def test_columns_that_are_no_classes(written: Any, kind: str) -> None:
    """They are said, or seen and left out."""
    file = written(kind, columns(EXTRAS[kind]), ("output0",))
    said = {"scores", "asked", "warned"} & set(against(file, preprocess=PLAIN))
    assert said or len(reading(file, preprocess=PLAIN).subject.labels) == CLASSES


@pytest.mark.parametrize("kind", EXTRAS)
def test_columns_that_are_no_classes_by_as_many_names(written: Any, kind: str) -> None:
    file = written(kind, columns(EXTRAS[kind]), ("output0",))
    width = {"keypoints": 6, "angles": 1, "coefficients of masks": 8, "landmarks in pixels": 10, "embeddings": 16}[kind]
    names = [f"class {index}" for index in range(3 + width)]
    assert {"scores", "asked", "warned"} & set(against(file, class_names=names, preprocess=PLAIN))


@pytest.mark.parametrize("classes", [1, 3, 80])
@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_probabilities_as_logits(written: Any, classes: int, activation: str) -> None:
    def wrap(body: Body, image: Tensor) -> Any:
        boxes, logits = body(image)
        return boxes, logits.sigmoid()

    file = written(f"{classes} probabilities", wrap, ("boxes", "scores"), classes)
    found = against(file, preprocess=PLAIN, score_activation=activation, background="none")
    assert {"scores", "asked"} & set(found)


@pytest.mark.parametrize("classes", [2, 80])
def test_probabilities_whose_activation_does_not_show_as_logits(written: Any, classes: int) -> None:
    """As the root of class times objectness: the graph has no sigmoid at its end."""

    def wrap(body: Body, image: Tensor) -> Any:
        boxes, logits = body(image)
        return boxes, (logits.sigmoid() * logits[..., :1].sigmoid()).sqrt()

    file = written(f"{classes} roots", wrap, ("boxes", "scores"), classes)
    assert {"scores", "asked", "warned"} & set(against(file, preprocess=PLAIN, score_activation="sigmoid"))


@pytest.mark.parametrize("classes", [1, 3, 80])
def test_logits_as_probabilities(written: Any, classes: int) -> None:
    file = written(f"{classes} logits", lambda body, image: body(image), ("boxes", "scores"), classes)
    found = against(file, preprocess=PLAIN, score_activation="none")
    assert {"scores", "asked"} & set(found)


def test_scores_of_few_values_are_told(written: Any) -> None:
    """As a model has them that was quantized with one scale for boxes and scores."""

    def wrap(body: Body, image: Tensor) -> Any:
        boxes, logits = body(image)
        return boxes, torch.fake_quantize_per_tensor_affine(logits.sigmoid(), 0.25, 0, 0, 255)

    file = written("few values", wrap, ("boxes", "scores"))
    found = against(file, preprocess=PLAIN, score_activation="none")
    finding = found["scores"]
    assert isinstance(finding, Finding)
    assert "different values only" in finding.sentence


WRONG = {
    "divided by 255": (("scale=0-1",), ("imagenet",), ("tf",), ("mean=127.5", "std=127.5", "scale=0-255")),
    "multiplied by 1/255": (("scale=0-1",), ("imagenet",), ("paddle",)),
    "means of ImageNet, of 0 to 1": (("scale=0-255",), ("imagenet",), ("mean=123.675,116.28,103.53", "scale=0-255")),
    "means of ImageNet, of 0 to 255": (("scale=0-1",), ("imagenet",), ("tf",)),
    "Keras: to -1 and 1": (("scale=0-1",), ("imagenet",), ("tf",)),
    "channels turned, and divided": (("scale=0-1",), ("imagenet",)),
}


@pytest.mark.parametrize(("inside", "specs"), [(inside, specs) for inside, all_ in WRONG.items() for specs in all_])
def test_normalised_twice_or_not_at_all(written: Any, inside: str, specs: tuple[str, ...]) -> None:
    def wrap(body: Body, image: Tensor) -> Any:
        boxes, logits = body(INSIDE[inside](image))
        return boxes, logits.sigmoid()

    file = written(inside, wrap, ("boxes", "scores"))
    found = against(file, preprocess=[*specs, "color=RGB", "resize=stretch"])
    finding = found["normalisation"]
    assert isinstance(finding, Finding)
    assert finding.verdict == "implausible"
    assert 'preprocess=["mean=0", "std=1", "scale=' in finding.sentence


@pytest.mark.parametrize("means", ["means of ImageNet, of 0 to 1", "means of ImageNet, of 0 to 255"])
def test_channels_in_the_other_order_than_their_means(written: Any, means: str) -> None:
    def wrap(body: Body, image: Tensor) -> Any:
        boxes, logits = body(INSIDE[means](image))
        return boxes, logits.sigmoid()

    file = written(means, wrap, ("boxes", "scores"))
    scale = f"scale=0-{means.rpartition(' ')[2]}"
    found = against(file, preprocess=["resize=stretch", "color=BGR", scale])
    finding = found["normalisation"]
    assert isinstance(finding, Finding)
    assert 'preprocess="color=RGB"' in finding.sentence
    assert "normalisation" not in against(file, preprocess=["resize=stretch", "color=RGB", scale])


@pytest.mark.parametrize("specs", [("mean=0.5", "std=0.5", "scale=0-255"), ("mean=127", "std=127", "scale=0-1")])
def test_means_of_another_scale(written: Any, specs: tuple[str, ...]) -> None:
    file = written("plain", lambda body, image: body(image), ("boxes", "scores"))
    found = against(file, score_activation="sigmoid", preprocess=["resize=stretch", "color=RGB", *specs])
    assert {"normalisation", "asked"} & set(found)
