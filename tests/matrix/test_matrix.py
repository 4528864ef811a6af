"""The matrix: each family, layer and engine against the family's own framework. See `tests.matrix.registry`.

With BOXCAM_MATRIX naming a folder, each result is written into it, for `tests.matrix.table`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import boxcam
import tests.matrix.families  # noqa: F401  (registers them)
from tests.matrix.measure import Case, differences
from tests.matrix.registry import FAMILIES, REFUSED
from tests.matrix.results import Result, record

BOXES = 20


def _marked(name: str, heavy: bool, *more: object) -> object:
    return pytest.param(
        *([name, *more]), marks=[pytest.mark.heavy] if heavy else [], id="-".join([name, *map(str, more)])
    )


NAMES = [_marked(name, FAMILIES[name].heavy) for name in FAMILIES]
CASES = [
    _marked(name, FAMILIES[name].heavy, layer, engine)
    for name in FAMILIES
    for layer, engine, _ in FAMILIES[name].cases()
]
REFUSALS = [_marked(name, REFUSED[name].heavy) for name in REFUSED]


@pytest.fixture(scope="module")
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    """A family, exported once."""
    family = FAMILIES[request.param]
    folder = tmp_path_factory.mktemp("family")
    engines = {engine for _, engine, _ in family.cases()}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with family.within():
        subject = family.make(folder)
        boxcam.export(
            *subject.arguments,
            output=folder / "family.boxcam",
            layers=list(family.layers),
            engine="both" if len(engines) == 2 else engines.pop(),
            **subject.options,
        )
        yield Case(request.param, family, subject, folder / "family.boxcam")
    torch.set_num_threads(threads)


@pytest.mark.parametrize("case", NAMES, indirect=True)
def test_detections_are_the_frameworks_own(case: Case) -> None:
    count, sides, scores = differences(case)
    record(Result(case.name, "detections", count=count, error=sides, limit=case.subject.pixels, scores=scores))
    assert count >= BOXES


@pytest.mark.parametrize(("case", "layer", "engine"), CASES, indirect=["case"])
def test_gradients_are_the_frameworks_own(case: Case, layer: str, engine: str) -> None:
    (form,) = [form for name, by, form in case.family.cases() if (name, by) == (layer, engine)]
    assert case.deployed.form(layer, engine) == form
    found = case.compare(layer, engine)
    result = Result(
        case.name,
        "gradients",
        layer,
        engine,
        form,
        case.deployed.reason(layer, engine),
        found.boxes,
        found.tensors,
        found.error,
        found.limit,
        found.noise,
    )
    print(result.line())  # noqa: T201
    assert found.boxes >= BOXES
    assert found.error <= found.limit, result.line()
    record(result)


@pytest.mark.parametrize("name", REFUSALS)
def test_what_is_refused_says_why(name: str, tmp_path: Path) -> None:
    refused = REFUSED[name]
    with refused.within():
        arguments, options = refused.make(tmp_path)
        with pytest.raises(refused.error, match=refused.message):
            boxcam.export(*arguments, output=tmp_path / "refused.boxcam", **options)
