"""The matrix: each family, layer and engine against the family's own framework. See `tests.matrix.registry`.

With BOXCAM_MATRIX naming a folder, each result is written into it, for `tests.matrix.table`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import boxcam
import tests.matrix.families  # noqa: F401  (registers them)
from tests.matrix import candidates
from tests.matrix.cases import CASES, NAMES, REFUSALS
from tests.matrix.detections import differences
from tests.matrix.measure import Case
from tests.matrix.registry import REFUSED, Key
from tests.matrix.results import Result, record

BOXES = 20


@pytest.mark.parametrize("case", NAMES, indirect=True)
def test_detections_are_the_frameworks_own(case: Case) -> None:
    count, sides, scores = differences(case)
    record(Result(case.name, "detections", count=count, error=sides, limit=case.subject.pixels, scores=scores))
    assert count >= BOXES


@pytest.mark.parametrize("case", NAMES, indirect=True)
def test_candidates_are_what_the_model_reports(case: Case) -> None:
    manifest = case.deployed.model.manifest
    if manifest.outputs.whole_image:
        assert manifest.without_candidates.startswith("it is a classifier")
    elif case.name in candidates.WITHOUT:
        assert candidates.WITHOUT[case.name] in manifest.without_candidates
    else:
        assert manifest.candidates is not None, manifest.without_candidates
        compared = [candidates.check(case.deployed, picture) for picture in case.subject.pictures]
        assert sum(compared) >= BOXES / 2


@pytest.mark.parametrize(("case", "key"), CASES, indirect=["case"])
def test_gradients_are_the_frameworks_own(case: Case, key: Key) -> None:
    layer, target, engine, rules = key
    gradient = case.deployed.gradient(layer, engine, target, rules)
    assert gradient.form == dict(case.family.cells())[key], gradient.reason
    found = case.compare(layer, engine, target, rules)
    result = Result(
        case.name,
        "gradients",
        layer,
        target,
        engine,
        gradient.form,
        gradient.reason,
        found.boxes,
        found.tensors,
        found.error,
        found.limit,
        found.noise,
        found.level,
        found.flipped,
        differences=case.by_differences(target),
        rules=rules,
    )
    print(result.line())  # noqa: T201
    assert found.boxes >= BOXES
    assert found.flipped <= found.boxes / 4, result.line()
    assert found.error <= found.limit, result.line()
    record(result)


@pytest.mark.parametrize("name", REFUSALS)
def test_what_is_refused_says_why(name: str, tmp_path: Path) -> None:
    refused = REFUSED[name]
    with refused.within():
        arguments, options = refused.make(tmp_path)
        with pytest.raises(refused.error, match=refused.message):
            boxcam.export(*arguments, output=tmp_path / "refused.boxcam", **options)
