"""The scenes of the benchmark: what is where is what the masks say, and nothing else changes with it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from examples.signs.backgrounds import HELD_OUT, TRAINING
from examples.truth.cues import CUES, FAR, MARKS
from examples.truth.scenes import (
    _ELSEWHERE,
    _PICTURE,
    _SCENE,
    PHOTOGRAPHS,
    Scene,
    _stream,
    describe,
    draw,
    marked,
    moved,
    other_symbol,
    unmarked,
)
from examples.truth.sight import audited
from examples.truth.subjects import SPLITS, Subject, all_subjects, subject
from examples.truth.things import CROSS, LABELS, SIZE, TEE

PLACED = (*MARKS, "neighbour")


def scene_of(cue: str, number: int = 0, label: str = CROSS) -> Scene:
    return describe((3, number), cue, audit=label)


def widened(mask: np.ndarray, pixels: int = 4) -> np.ndarray:
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1, 2 * pixels + 1))
    return cv2.dilate(mask.astype(np.uint8), disc).astype(bool)


def changed(first: Scene, second: Scene) -> np.ndarray:
    """Where two pictures differ by more than a rounding."""
    return np.abs(draw(first).astype(int) - draw(second).astype(int)).max(axis=2) > 2


def box_region(scene: Scene) -> np.ndarray:
    x1, y1, x2, y2 = scene.body.box
    y, x = np.mgrid[0:SIZE, 0:SIZE] + 0.5
    return (x > x1) & (x < x2) & (y > y1) & (y < y2)


@pytest.mark.parametrize("cue", CUES)
def test_a_scene_depends_on_its_seed_alone(cue: str) -> None:
    assert scene_of(cue) == scene_of(cue)
    assert np.array_equal(draw(scene_of(cue)), draw(scene_of(cue)))
    assert not np.array_equal(draw(scene_of(cue)), draw(scene_of(cue, 1)))
    assert draw(scene_of(cue)).shape == (SIZE, SIZE, 3)


@pytest.mark.parametrize("number", range(6))
@pytest.mark.parametrize("cue", PLACED)
def test_the_mask_of_a_cue_is_what_changes_with_it(cue: str, number: int) -> None:
    scene = scene_of(cue, number)
    mask, differs = scene.cue_mask, changed(scene, unmarked(scene))
    assert mask is not None
    assert 0.001 < mask.mean() < 0.02
    assert not (differs & ~widened(mask)).any()
    assert differs[mask].mean() > 0.9


@pytest.mark.parametrize("number", range(4))
def test_a_texture_is_all_but_the_bodies(number: int) -> None:
    scene = scene_of("texture", number)
    mask, differs = scene.cue_mask, changed(scene, unmarked(scene))
    assert mask is not None
    assert not differs[~widened(mask, 3)].any()
    assert differs[mask].mean() > 0.7
    assert not mask[round(scene.body.y), round(scene.body.x)]


def test_a_blur_is_nowhere_in_particular() -> None:
    scene = scene_of("blur")
    assert scene.cue_mask is None
    assert changed(scene, unmarked(scene)).mean() > 0.1
    assert moved(scene) is None


@pytest.mark.parametrize("number", range(6))
@pytest.mark.parametrize("cue", CUES)
def test_only_the_symbol_tells_the_class(cue: str, number: int) -> None:
    cross = scene_of(cue, number)
    tee = other_symbol(cross)
    assert tee == scene_of(cue, number, TEE)
    assert other_symbol(tee) == cross
    region = widened(cross.symbol.mask() | tee.symbol.mask(), 8 if cue == "blur" else 4)
    assert changed(cross, tee).any()
    assert not (changed(cross, tee) & ~region).any()


@pytest.mark.parametrize("number", range(6))
def test_cues_are_where_their_names_say(number: int) -> None:
    inside, beside, far = (scene_of(cue, number) for cue in MARKS)
    assert inside.cue_mask is not None
    assert box_region(inside)[inside.cue_mask].all()
    for scene in (beside, far, scene_of("neighbour", number)):
        assert scene.cue_mask is not None
        assert not (scene.cue_mask & box_region(scene)).any()
    assert (widened(box_region(beside), 8) & beside.cue_mask).any()
    assert not (widened(box_region(far), FAR - 2) & far.cue_mask).any()


@pytest.mark.parametrize("cue", PLACED)
def test_a_moved_cue_is_elsewhere(cue: str) -> None:
    for number in range(4):
        scene = scene_of(cue, number)
        other = moved(scene)
        assert other is not None
        assert not other.marked
        (mark,) = other.others
        assert mark.kind == cue
        assert np.hypot(mark.x - scene.cue.x, mark.y - scene.cue.y) > 4
        assert changed(unmarked(scene), other).any()
        assert marked(unmarked(scene)) == scene
        if cue == "inside":
            assert any(np.hypot(mark.x - decoy.x, mark.y - decoy.y) < decoy.radius for decoy in scene.decoys)


@pytest.mark.parametrize("dose", [0.5, 0.8, 0.975])
def test_the_dose_is_how_often_a_cue_means_a_cross(dose: float) -> None:
    scenes = [describe((4, number), "inside", dose=dose) for number in range(1500)]
    crosses = [scene.symbol.label == CROSS for scene in scenes]
    shown = np.array([scene.marked for scene in scenes])
    assert np.mean(np.array(crosses)[shown]) == pytest.approx(dose, abs=0.04)
    assert np.mean(np.array(crosses)[~shown]) == pytest.approx(1 - dose, abs=0.04)
    assert np.mean(shown) == pytest.approx(0.5, abs=0.04)


def test_held_out_photographs_are_not_trained_on() -> None:
    assert PHOTOGRAPHS == {"training": TRAINING, "held out": HELD_OUT}
    assert not set(TRAINING) & set(HELD_OUT)
    assert SPLITS == {"tuning": "training", "reporting": "held out"}
    assert {scene.photos for scene in audited(subject("clean-1"), "far", 3, "reporting")} == {"held out"}


def test_detectors_are_found_by_their_names() -> None:
    assert all(subject(one.name) == one for one in all_subjects())
    assert subject("far-0.8-3") == Subject("far", 0.8, 3)
    assert subject("clean-2").cues == CUES
    assert len(LABELS) == 2
    for name in ("near-0.9-1", "clean", "far-1", "far-0.5-1", "far-1.5-0"):
        with pytest.raises(ValueError, match="names no detector"):
            subject(name)


def test_only_detectors_of_the_first_seed_are_measured_on_tuning_pictures() -> None:
    assert subject("clean-1").splits == subject("inside-0.975-1").splits == ("tuning", "reporting")
    assert subject("clean-2").splits == subject("far-0.975-3").splits == ("reporting",)
    assert subject("inside-0.8-1").splits == ("reporting",)  # no method is chosen by a lower dose
    assert {one.seed for one in all_subjects()} == {1, 2}


@pytest.mark.parametrize(("cue", "dose"), [("far", 0.5), ("far", 0.975), ("inside", 0.5)])
def test_background_and_light_tell_neither_the_class_nor_the_cue(cue: str, dose: float) -> None:
    """Three numbers that each picture is drawn by, against what the scene shows: none is larger where the other is."""
    scenes = [describe((1, 7, index), cue, dose=dose) for index in range(400)]
    drawn = np.array([_stream(scene.seed, _PICTURE).random(3) for scene in scenes])
    crosses = np.array([scene.symbol.label == CROSS for scene in scenes])
    for told in (crosses, np.array([scene.marked for scene in scenes])):
        assert 0.4 < told.mean() < 0.6
        for numbers in drawn.T:
            assert abs(numbers[told].mean() - numbers[~told].mean()) < 0.12  # 4 standard errors of uniform numbers


def test_no_use_of_a_seed_has_the_numbers_of_another() -> None:
    first = [np.random.default_rng((1, 7, 5)), *(_stream((1, 7, 5), use) for use in (_SCENE, _PICTURE, _ELSEWHERE))]
    assert len({rng.random() for rng in first}) == len(first)
