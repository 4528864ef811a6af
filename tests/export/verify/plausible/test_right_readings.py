"""Every model here is read right, and nothing speaks against it; the last test counts, and prints with ``-s``."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from boxcam.bundle import Finding
from tests.export.sources.onnx import deployed
from tests.export.sources.onnx.deployed import CASES, Body
from tests.export.verify.plausible.readings import FORMS, INSIDE, NAMED, against, in_format, write
from tests.other_frameworks.recorded import FILES, PICTURE
from tests.other_frameworks.recorded import read as recorded

SIGNS = Path(__file__).parents[4] / "examples" / "signs"
SEEDS = range(10)
RIGHT = {
    "divided by 255": ("scale=0-255", "color=RGB"),
    "multiplied by 1/255": ("scale=0-255", "color=RGB"),
    "means of ImageNet, of 0 to 1": ("scale=0-1", "color=RGB"),
    "means of ImageNet, of 0 to 255": ("scale=0-255", "color=RGB"),
    "Keras: to -1 and 1": ("scale=0-255", "color=RGB"),
    "channels turned, and divided": ("scale=0-255", "color=BGR"),
}
PRESETS = (("imagenet",), ("paddle",), ("tf",), ("scale=0-1",), ("scale=0-255",), ("yolo", "resize=stretch"))


def readings(folder: Path) -> Iterator[tuple[str, tuple[Any, ...], dict[str, Any]]]:
    """What is read, with which options, by name."""
    for name, case in CASES.items():
        file = folder / f"case_{len(name)}_{name[:5].replace(' ', '_')}.onnx"
        deployed.export(case, file)
        options = dict(case.options)
        if case.preprocess is not None:
            options["preprocess"] = list(case.preprocess)
        yield name, (file,), options
    for seed, (form, scale) in itertools.product(SEEDS, itertools.product(FORMS, ("pixels", "normalized"))):

        def wrap(body: Body, image: Tensor, form: str = form, scale: str = scale) -> Any:
            boxes, logits = body(image)
            return in_format(boxes, form, scale), logits.sigmoid()

        file = write(folder / f"{form}_{scale}_{seed}.onnx", wrap, ("boxes", "scores"), 1 + seed, seed)
        yield f"{form} {scale} {seed}", (file,), {**NAMED, "box_format": form, "box_scale": scale}
    for inside, specs in RIGHT.items():

        def normal(body: Body, image: Tensor, inside: str = inside) -> Any:
            boxes, logits = body(INSIDE[inside](image))
            return boxes, logits.sigmoid()

        file = write(folder / f"normal{len(inside)}.onnx", normal, ("boxes", "scores"))
        yield inside, (file,), {"preprocess": ["resize=stretch", *specs], "score_activation": "none"}
    file = write(folder / "plain.onnx", lambda body, image: body(image), ("boxes", "scores"))
    for specs in PRESETS:
        yield f"plain {specs}", (file,), {"preprocess": [*specs, "resize=stretch", "color=RGB"], **_LOGITS}
    for path in FILES:
        yield path.stem, (path,), {**recorded(path).options, "sample": PICTURE}
    for sample in (None, *sorted((SIGNS / "images").glob("*.jpg"))):
        yield f"signs on {sample}", (SIGNS / "config.py", SIGNS / "signs.pth"), {"sample": sample}


_LOGITS = {"score_activation": "sigmoid"}


@pytest.fixture(scope="module")
def alarms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Finding | str]]:
    """What speaks against each."""
    folder = tmp_path_factory.mktemp("right")
    return {name: against(*arguments, **options) for name, arguments, options in readings(folder)}


def test_nothing_speaks_against_what_is_read_right(alarms: dict[str, dict[str, Finding | str]]) -> None:
    false = {name: found for name, found in alarms.items() if found}
    print(f"{len(false)} false alarms in {len(alarms)} right readings")  # noqa: T201
    assert len(alarms) >= 100
    assert not false
