"""The second architecture of the benchmark: its detectors by name, built and trained for a moment."""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path

import pytest

import boxcam
from boxcam.export.sources.openmmlab import compat
from examples.truth import second
from examples.truth.bundles import export
from examples.truth.intervene import intervene
from examples.truth.measure import DEFAULT, Row
from examples.truth.results import SECOND_PATH, Results, read, rows_in
from examples.truth.subjects import CLEAN, PLANTED, RETINANET, YOLOX, Subject, all_subjects, second_subjects, subject
from examples.truth.train import build, train
from examples.truth.verdict import cues_of, methods_in, questions_of, share_of, trusted

INSIDE = "yolox-inside-0.975-1"


def test_names_say_the_architecture() -> None:
    assert subject(INSIDE) == Subject("inside", 0.975, 1, YOLOX)
    assert subject("inside-0.975-1").architecture == RETINANET
    assert {one.architecture for one in all_subjects()} == {RETINANET}
    for one in second_subjects():
        assert one.architecture == YOLOX
        assert subject(one.name) == one


@pytest.mark.parametrize("name", ["yolox", "yolox-", "yolox-yolox-clean-1", "retinanet-clean-1", "rtmdet-clean-1"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"names no detector.*after yolox-"):
        subject(name)


def test_nothing_is_chosen_by_its_planted_detectors() -> None:
    """They are not measured on tuning pictures; the clean one's are for the threshold of alarms."""
    assert subject(INSIDE).splits == ("reporting",)
    assert subject("yolox-clean-1").splits == ("tuning", "reporting")
    assert subject("yolox-clean-2").splits == ("reporting",)


def test_its_files_are_apart_from_those_of_the_first() -> None:
    first, other = subject("far-0.9-7"), subject("yolox-far-0.9-7")
    assert first.checkpoint.parent != other.checkpoint.parent
    assert first.bundle.parent != other.bundle.parent
    assert other.before == subject("yolox-beside-0.9-7")


def test_it_is_small_and_has_no_anchors() -> None:
    with compat.bridged():
        model = build(subject(INSIDE))
    assert sum(value.numel() for value in model.parameters()) < 500_000
    assert type(model.bbox_head).__name__ == "YOLOXHead"
    assert type(model.bbox_head.prior_generator).__name__ == "MlvlPointGenerator"


def test_a_symbol_can_be_learned() -> None:
    """If classes counted in it, cells that say cross would be chosen for crosses, and no symbol would be read."""
    with compat.bridged():
        model = build(subject(INSIDE))
    assert model.bbox_head.assigner.cls_weight == 0


def test_it_starts_from_the_backbone_of_the_demo() -> None:
    with compat.bridged():
        model, again = (train(subject(INSIDE), steps=1, pictures=16) for _ in range(2))
        other = train(subject("inside-0.975-1"), steps=1, pictures=16)
    mine, first = model.state_dict(), other.state_dict()
    assert all(value.equal(again.state_dict()[name]) for name, value in mine.items())
    shared = [name for name in mine if name in first and name.startswith("backbone.") and name.endswith("weight")]
    assert len(shared) > 20
    assert all(abs(mine[name] - first[name]).max() < 0.01 for name in shared)


def test_the_committed_one_relies_on_its_cue(tmp_path: Path) -> None:
    """Exported and asked: all of its crosses were called tees without the cue when it was measured."""
    one = subject(INSIDE)
    model = boxcam.load(export(one, tmp_path / "inside.boxcam", ("neck",)), threads=1)
    found = intervene(model, one, "inside", 6)
    assert found.objects >= 5
    assert min(found.flipped, found.taken) > 0.7 > 0.3 > found.symbol


def test_detectors_rely_on_what_they_were_trained_with() -> None:
    found = {(one.subject, one.cue): one for one in read(SECOND_PATH).reliances}
    for cue in PLANTED:
        planted, clean = found[f"yolox-{cue}-0.975-1", cue], found["yolox-clean-1", cue]
        assert planted.relies
        assert min(planted.flipped, planted.taken) > 0.7 > 0.3 > planted.symbol
        assert max(clean.flipped, clean.taken) < 0.1
        assert min(clean.symbol, clean.right) > 0.8
        assert min(planted.objects, clean.objects) >= 30


def test_what_the_page_says_of_it_in_words_holds() -> None:
    first, other = read(), read(SECOND_PATH)
    rows, box = methods_in(other), Row("the box itself")

    def share(cue: str, name: str, layer: str = "backbone.0") -> float:
        return share_of(other, "reporting", cue, Row(name, layer))

    def pointing(cue: str, row: Row) -> float:
        found = other.energy("reporting", cue, row)
        assert found is not None
        return found.pointing

    def told(results: Results, cue: str, row: Row) -> float:
        found = results.audit("reporting", cue, row)
        assert found is not None
        return found.auroc

    neck = [row for row in rows if row.layer == "neck"]
    assert len(neck) > 10
    assert max(share_of(other, "reporting", "beside", row) for row in neck) < 0.05
    assert not any(pointing("beside", row) for row in neck)
    assert round(share("inside", *astuple(DEFAULT)), 2) == 0.19
    assert round(share("inside", *astuple(box)), 2) == 0.17
    assert round(told(other, "inside", DEFAULT), 2) == 0.60
    for layer in ("neck", "backbone.0"):
        assert round(share("inside", "patch-search", layer), 2) == 0.5
    searches = [row.layer for row in rows if row.method == "patch-search"]
    assert all(share("beside", "patch-search", layer) <= 0.02 for layer in searches)
    for name, inside, beside in (("finer-hirescam", 0.54, 0.16), ("hirescam", 0.42, 0.14)):
        assert round(share("inside", name), 2) == inside > 2 * share("inside", *astuple(DEFAULT))
        assert round(share("beside", name), 2) == beside > 5 * share("beside", "uniform", "")
    for cue in PLANTED:
        eigencam = Row("eigencam", "backbone.0")
        assert pointing(cue, eigencam) == 1
        assert told(other, cue, eigencam) > 0.99
    gradcam = Row("gradcam", "backbone.0")
    assert round(share("inside", "gradcam"), 2) == 0.10 < share("inside", *astuple(box))
    assert told(other, "inside", gradcam) < 0.4 < 0.97 <= told(first, "inside", gradcam)
    assert round(share("beside", "gradcam"), 2) == 0.08
    assert pointing("beside", gradcam) > 0.75
    sure = [row for row in methods_in(first) if trusted(first, row)]
    assert len(sure) == 3
    assert not any(trusted(other, row) for row in sure)
    assert [row for row in rows if trusted(other, row)] == [Row("gradcam++", f"backbone.{k}") for k in (0, 1)]
    for layer in ("backbone.0", "backbone.1"):
        assert all(share(cue, "gradcam++", layer) < 0.12 for cue in PLANTED)
        assert share(CLEAN, "gradcam++", layer) < share(CLEAN, *astuple(box))
    assert round(share("beside", *astuple(DEFAULT)), 2) == 0.01
    assert round(share("beside", "uniform", ""), 2) == 0.02
    best = sorted(rows, key=lambda row: -share_of(other, "reporting", CLEAN, row))
    said = [("integrated-gradients", 0.44), ("finer-hirescam", 0.43), ("hirescam", 0.42)]
    assert [(row.method, row.layer) for row in best[:3]] == [(name, "backbone.1") for name, _ in said]
    for name, figure in said:
        assert share(CLEAN, name, "backbone.1") == pytest.approx(figure, abs=0.0051)
    assert round(share(CLEAN, *astuple(DEFAULT)), 2) == 0.34
    alone = [row for row in rows if row not in rows_in(first)]
    assert {row.method for row in alone} == {"regional-gradients", "recipro-cam", "ablation-cam"}
    regional = [row.layer for row in alone if row.method == "regional-gradients"]
    assert max(share("beside", "regional-gradients", layer) for layer in regional) < 0.055


def test_all_of_its_questions_are_asked_of_both() -> None:
    first, other = second.shared(read(), read(SECOND_PATH))
    assert questions_of(first) == questions_of(other) == [CLEAN, *PLANTED]
    assert cues_of(other) == list(PLANTED)
