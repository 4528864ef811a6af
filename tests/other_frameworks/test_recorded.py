"""Files of PaddleDetection, Keras and TensorFlow against the boxes and gradients of the live models they were made of.

The frameworks are too heavy for CI; the scripts of examples/other_frameworks wrote the files (``--fixture``).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import boxcam
from boxcam.runtime.images import read_image
from tests.matrix.results import Result, record
from tests.other_frameworks.recorded import FILES, FOLDER, PICTURE, Array, Recorded, comparison, read

_PIXELS, _SCORE, _GRADIENT = 0.05, 1e-4, 1e-4
_FOLDER_BYTES = 5_000_000


@dataclass(frozen=True, eq=False)
class Case:
    """A recorded model, and the bundle of its file."""

    recorded: Recorded
    bundle: Path


@pytest.fixture(scope="module", params=FILES, ids=lambda file: file.stem)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Each recorded model, exported once."""
    recorded = read(request.param)
    bundle = tmp_path_factory.mktemp("recorded") / "model.boxcam"
    boxcam.export(
        recorded.file,
        output=bundle,
        layers=list(recorded.forms),
        sample=PICTURE,
        engine="onnx",
        **recorded.options,
    )
    return Case(recorded, bundle)


def _matched(found: boxcam.Detections, recorded: Recorded) -> tuple[dict[int, int], float, float]:
    """Boxes as sets: for each of boxcam's the live model's, each taken once; how far boxes and scores are at most.

    Boxes of nearly equal score may change places, and so may those that lie on each other.
    """
    left = np.ones(len(recorded.boxes), bool)
    pairs: dict[int, int] = {}
    pixels, scores = 0.0, 0.0
    for mine, (box, label, score) in enumerate(zip(found.boxes, found.labels, found.scores, strict=True)):
        sides = np.abs(recorded.boxes - box).max(1)
        apart = np.abs(recorded.scores - score)
        fits = left & (recorded.labels == label) & (sides < _PIXELS) & (apart < _SCORE)
        if not fits.any():
            continue
        theirs = int(np.where(fits, apart / _SCORE + sides / _PIXELS, np.inf).argmin())
        left[theirs] = False
        pairs[mine] = theirs
        pixels, scores = max(pixels, float(sides[theirs])), max(scores, float(apart[theirs]))
    return pairs, pixels, scores


def test_boxes_are_the_live_models(case: Case) -> None:
    recorded = case.recorded
    found = boxcam.load(case.bundle, threads=1).runtime.predict(read_image(PICTURE)).detections
    pairs, pixels, scores = _matched(found, recorded)
    assert len(pairs) == len(found) == len(recorded.boxes)
    record(Result(recorded.family, "detections", count=len(pairs), error=pixels, limit=_PIXELS, scores=scores))


def test_gradients_are_the_live_models(case: Case) -> None:
    recorded, tools = case.recorded, comparison()
    forms = {layer.name: layer.gradients[0].form for layer in boxcam.load(case.bundle).manifest.layers}
    assert forms == recorded.forms
    for layer, expected in recorded.gradients.items():
        found = tools.explained(case.bundle, PICTURE, layer, len(recorded.boxes))
        pairs, _, _ = _matched(found.detections, recorded)
        by_truth = {theirs: mine for mine, theirs in pairs.items()}
        errors = [tools.apart(found.gradients[by_truth[k]], arrays) for k, arrays in expected.items()]
        assert errors, f"{layer}: no gradients were recorded"
        assert max(errors) <= _GRADIENT, f"{layer}: {max(errors):.1e}"
        record(
            Result(
                recorded.family, "gradients", layer, "logit", "onnx", forms[layer], count=len(errors),
                tensors=len(found.features), error=max(errors), limit=_GRADIENT,
            )
        )  # fmt: skip


def test_a_wrong_gradient_is_found(case: Case) -> None:
    tools = comparison()
    layer, expected = next(iter(case.recorded.gradients.items()))
    wrong: list[Array] = [1.001 * array for array in next(iter(expected.values()))]
    assert tools.apart(wrong, next(iter(expected.values()))) > _GRADIENT, layer


def test_rows_are_compared_as_sets() -> None:
    """Proposals of nearly equal score may change places; others, and those that are there twice, are counted."""
    rows = np.random.default_rng(0).uniform(0, 100, (30, 4)).astype(np.float32)
    other_rows, order = comparison().other_rows, np.random.default_rng(1).permutation(30)
    assert other_rows(rows, rows[order] + 1e-4, 0.1) == 0
    assert other_rows(rows, rows[order[:-2]], 0.1) == 2
    assert other_rows(rows[:-2], rows[order], 0.1) == 2
    assert other_rows(rows, np.concatenate([rows[1:], rows[1:2]]), 0.1) == 1
    assert other_rows(rows, rows + 1, 0.1) == 30
    assert other_rows(rows[:0], rows[:0], 0.1) == 0


def test_all_fixtures_are_there_and_small() -> None:
    assert {file.stem.partition("_")[0] for file in FILES} == {"keras", "paddle", "tensorflow"}
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) <= _FOLDER_BYTES
