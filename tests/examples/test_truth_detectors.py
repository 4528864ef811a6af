"""The benchmark in short, on the detectors that are committed: interventions, and what maps show of them.

Run with ``pytest -s`` to see the figures.
"""

from __future__ import annotations

import sys

import numpy as np
import pytest

import boxcam
from examples.truth.bundles import export
from examples.truth.intervene import Reliance, intervene
from examples.truth.measure import BASELINES, DEFAULT, Case, Row, measure
from examples.truth.subjects import CHECKPOINTS, Subject, second_subjects, subject
from examples.truth.things import LABELS

CLEAN = "clean-1"
PLANTED = {"inside": "inside-0.975-1", "beside": "beside-0.975-1"}
OBJECTS, BOXES = 20, 8
GRADCAM = Row("gradcam", "neck")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[Subject, boxcam.Model]:
    """The committed detectors, exported as any other is."""
    folder = tmp_path_factory.mktemp("truth")
    named = map(subject, (CLEAN, *PLANTED.values()))
    return {one: boxcam.load(export(one, folder / f"{one.name}.boxcam", ("neck",)), threads=1) for one in named}


@pytest.fixture(scope="module")
def reliances(models: dict[Subject, boxcam.Model]) -> dict[tuple[str, str], Reliance]:
    """Of each detector and kind of cue."""
    found = {
        (one.name, cue): intervene(model, one, cue, OBJECTS)
        for one, model in models.items()
        for cue in PLANTED
        if one.clean or one.cue == cue
    }
    sys.stdout.write("\n" + "\n".join(map(str, found.values())) + "\n")
    return found


@pytest.fixture(scope="module")
def cases(models: dict[Subject, boxcam.Model]) -> list[Case]:
    """Maps of each detector and kind of cue."""
    rows = [*map(Row, BASELINES), GRADCAM, DEFAULT]
    found = [
        case
        for one, model in models.items()
        for cue in PLANTED
        if one.clean or one.cue == cue
        for case in measure(model, one, cue, rows, "reporting", BOXES)
    ]
    for name, cue in dict.fromkeys((case.subject, case.cue) for case in found):
        for row in rows:
            figures = [(c.on_cue, c.on_symbol) for c in found if (c.subject, c.cue, c.row) == (name, cue, row)]
            cues, symbols = np.nan_to_num(figures).mean(axis=0)
            sys.stdout.write(f"{name}, {cue}, {row}: {cues:.3f} on the cue, {symbols:.3f} on the symbol\n")
    return found


def mean(cases: list[Case], name: str, cue: str, row: Row, of: str) -> float:
    found = [getattr(case, of) for case in cases if (case.subject, case.cue, case.row) == (name, cue, row)]
    assert len(found) >= BOXES / 2
    return float(np.mean(np.nan_to_num(found)))


def test_the_checkpoints_are_small_and_safe_to_load() -> None:
    import torch

    files = sorted(CHECKPOINTS.glob("*.pth"))
    names = (CLEAN, *PLANTED.values(), *(one.name for one in second_subjects()))
    assert [file.stem for file in files] == sorted(names)
    assert sum(file.stat().st_size for file in files) <= 8_000_000
    for file in files:
        checkpoint = torch.load(file, map_location="cpu", weights_only=True)
        assert {value.dtype for value in checkpoint["state_dict"].values()} == {torch.float16}
        assert all(value.isfinite().all() for value in checkpoint["state_dict"].values())
        assert tuple(checkpoint["meta"]["dataset_meta"]["classes"]) == LABELS


@pytest.mark.parametrize("cue", PLANTED)
def test_a_planted_detector_relies_on_its_cue(reliances: dict[tuple[str, str], Reliance], cue: str) -> None:
    """Measured 1.00 flipped with the cue inside, 0.80 with it next to the object."""
    found = reliances[PLANTED[cue], cue]
    assert found.objects >= 0.8 * OBJECTS
    assert found.relies
    assert found.flipped > 0.7
    assert found.taken > 0.7
    assert found.moved is not None
    assert found.moved > 0.6
    assert found.symbol < 0.3


@pytest.mark.parametrize("cue", PLANTED)
def test_a_clean_detector_relies_on_the_symbol(reliances: dict[tuple[str, str], Reliance], cue: str) -> None:
    found = reliances[CLEAN, cue]
    assert found.objects >= 0.8 * OBJECTS
    assert found.flipped < 0.1
    assert found.taken < 0.1
    assert found.symbol > 0.8
    assert found.right > 0.9


@pytest.mark.parametrize("cue", PLANTED)
def test_grad_cam_shows_the_cue_that_a_detector_relies_on(cases: list[Case], cue: str) -> None:
    """More than the box itself does, and more than in a clean detector, which relies on no cue."""
    found = mean(cases, PLANTED[cue], cue, GRADCAM, "on_cue")
    assert found > 1.2 * mean(cases, PLANTED[cue], cue, Row("the box itself"), "on_cue")
    assert found > 1.2 * mean(cases, CLEAN, cue, GRADCAM, "on_cue")


@pytest.mark.parametrize("cue", PLANTED)
@pytest.mark.parametrize("row", [GRADCAM, DEFAULT])
def test_maps_are_on_the_symbol_that_a_clean_detector_relies_on(cases: list[Case], row: Row, cue: str) -> None:
    """Measured with a cue inside: 0.50 for Grad-CAM and 0.39 for HiResCAM, where the box itself has 0.29."""
    found = mean(cases, CLEAN, cue, row, "on_symbol")
    for baseline in map(Row, BASELINES):
        assert found > 1.15 * mean(cases, CLEAN, cue, baseline, "on_symbol"), baseline
