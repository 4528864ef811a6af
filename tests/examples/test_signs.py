"""The demo detector: its drawn scenes, its committed pictures and its checkpoint."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "signs"
sys.path.insert(0, str(FOLDER))

import faces  # noqa: E402
import scenes  # noqa: E402


def _scenes(count: int) -> list[scenes.Scene]:
    """Scenes of every shape without photographs, so that no package with photographs is needed."""
    drawn = []
    for index in range(count):
        width, height = scenes.SHAPES[index % len(scenes.SHAPES)]
        drawn.append(scenes.draw_scene(np.random.default_rng([5, index]), width, height, photos=[]))
    return drawn


def test_a_scene_depends_on_its_seed_alone() -> None:
    first, again = (scenes.draw_scene(np.random.default_rng(3), 320, 320, photos=[]) for _ in range(2))
    other = scenes.draw_scene(np.random.default_rng(4), 320, 320, photos=[])
    assert np.array_equal(first.image, again.image)
    assert (first.boxes, first.labels) == (again.boxes, again.labels)
    assert not np.array_equal(first.image, other.image)


def test_boxes_are_within_the_limits_and_apart() -> None:
    for scene in _scenes(24):
        height, width = scene.image.shape[:2]
        covered = np.zeros((height, width), int)
        for x1, y1, x2, y2 in scene.boxes:
            assert 0 <= x1 < x2 <= width
            assert 0 <= y1 < y2 <= height
            assert min(x2 - x1, y2 - y1) >= scenes.SMALLEST
            assert max(x2 - x1, y2 - y1) <= scenes.LARGEST
            covered[y1:y2, x1:x2] += 1
        assert covered.max(initial=0) <= 1
        assert scene.boxes
        assert len(scene.boxes) == len(scene.labels)


def test_every_label_occurs() -> None:
    assert {label for scene in _scenes(24) for label in scene.labels} == set(scenes.LABELS)


@pytest.mark.parametrize("label", scenes.LABELS)
@pytest.mark.parametrize("size", [22, 48, 110])
def test_the_box_is_tight_around_the_pixels_of_the_sign(label: str, size: int) -> None:
    rng = np.random.default_rng(size)
    sprite = scenes.draw_sign(rng, label, size)
    left, top = 30, 17
    x1, y1, x2, y2 = (edge + offset for edge, offset in zip(sprite.bounds, (left, top, left, top), strict=True))

    mask = np.zeros((200, 200, 3), np.float32)
    white = scenes.Sprite(np.repeat(sprite.alpha[..., None], 3, axis=2), sprite.alpha)
    scenes.lay(mask, white, left, top)
    assert cv2.boundingRect((mask[..., 0] >= 0.5).astype(np.uint8)) == (x1, y1, x2 - x1, y2 - y1)

    canvas = np.full((200, 200, 3), 1000.0, np.float32)  # unlike any colour of a sign
    scenes.lay(canvas, sprite, left, top)
    changed_left, changed_top, wide, high = cv2.boundingRect((canvas[..., 0] != 1000).astype(np.uint8))
    assert 0 <= x1 - changed_left <= 3
    assert 0 <= changed_left + wide - x2 <= 3
    assert 0 <= y1 - changed_top <= 3
    assert 0 <= changed_top + high - y2 <= 3


def test_a_sign_at_the_edge_is_cut_off() -> None:
    sprite = scenes.draw_sign(np.random.default_rng(0), "stop", 60)
    canvas = np.zeros((40, 40, 3), np.float32)
    scenes.lay(canvas, sprite, -20, 10)
    scenes.lay(canvas, sprite, 500, 500)
    assert canvas[:, 0].any()
    assert canvas[-1].any()
    assert not canvas[:10].any()


@pytest.mark.parametrize("paint", [*faces.SIGNS.values(), *faces.DECOYS, *faces.BLANKS])
def test_faces_are_premultiplied(paint: faces.Painter) -> None:
    face = paint(np.random.default_rng(1))
    assert face.shape == (faces.SIDE, faces.SIDE, 4)
    assert face.dtype == np.uint8
    assert face[..., 3].max() == 255
    assert (face[..., :3].max(axis=2).astype(int) <= face[..., 3].astype(int) + 1).all()


def test_written_data_is_coco(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenes, "photographs", lambda names: [])
    scenes.write_split(tmp_path, "val", count=3, seed=0)
    data = json.loads((tmp_path / "val.json").read_text())
    assert [category["name"] for category in data["categories"]] == list(scenes.LABELS)
    for image in data["images"]:
        picture = cv2.imread(str(tmp_path / "val" / image["file_name"]))
        assert picture.shape[:2] == (image["height"], image["width"])
    assert {note["image_id"] for note in data["annotations"]} == {0, 1, 2}
    assert {note["category_id"] for note in data["annotations"]} <= set(range(len(scenes.LABELS)))


def test_held_out_photographs_are_not_trained_on() -> None:
    import backgrounds

    assert not set(backgrounds.TRAINING) & set(backgrounds.HELD_OUT)


def test_committed_pictures_match_their_truth() -> None:
    truth = json.loads((FOLDER / "images" / "truth.json").read_text())
    assert sorted(truth) == sorted(path.name for path in (FOLDER / "images").glob("*.jpg"))
    shapes = set()
    for name, signs in truth.items():
        picture = cv2.imread(str(FOLDER / "images" / name))
        height, width = picture.shape[:2]
        shapes.add((width > height) - (width < height))
        assert (FOLDER / "images" / name).stat().st_size < 60_000
        assert len(signs) >= 2
        for sign in signs:
            x1, y1, x2, y2 = sign["box"]
            assert 0 <= x1 < x2 <= width
            assert 0 <= y1 < y2 <= height
            assert sign["label"] in scenes.LABELS
    assert shapes == {-1, 0, 1}


def test_the_checkpoint_is_small_and_safe_to_load() -> None:
    import torch

    path = FOLDER / "signs.pth"
    assert path.stat().st_size <= 4_000_000
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    assert set(checkpoint) == {"state_dict", "meta"}
    assert {value.dtype for value in checkpoint["state_dict"].values()} == {torch.float16}
    assert all(value.isfinite().all() for value in checkpoint["state_dict"].values())
    assert tuple(checkpoint["meta"]["dataset_meta"]["classes"]) == scenes.LABELS


def test_the_checkpoint_fits_the_configuration_and_finds_the_signs() -> None:
    from boxcam.export.sources.openmmlab import compat

    with compat.bridged():
        found, wanted = _detect_all(compat.load_checkpoint(FOLDER / "signs.pth")["state_dict"])
    assert wanted >= 12
    assert found / wanted >= 0.9


def _detect_all(weights: dict[str, Any]) -> tuple[int, int]:
    """How many of the signs in the committed pictures are found (label, score 0.3, IoU 0.5), and how many there are."""
    from mmdet.apis import inference_detector, init_detector

    model = init_detector(str(FOLDER / "config.py"), checkpoint=None, palette="random", device="cpu")
    assert tuple(model.cfg.classes) == scenes.LABELS
    model.load_state_dict({name: value.float() for name, value in weights.items()}, strict=True)
    found = wanted = 0
    for name, signs in json.loads((FOLDER / "images" / "truth.json").read_text()).items():
        result = inference_detector(model, str(FOLDER / "images" / name)).pred_instances
        result = result[result.scores > 0.3].numpy()
        for sign in signs:
            same = result[result.labels == scenes.LABELS.index(sign["label"])]
            found += any(_iou(sign["box"], box) > 0.5 for box in same.bboxes)
            wanted += 1
    return found, wanted


def _iou(first: list[int], second: np.ndarray) -> float:
    low, high = np.maximum(first[:2], second[:2]), np.minimum(first[2:], second[2:])
    shared = float(np.prod(np.clip(high - low, 0, None)))
    areas = [float((box[2] - box[0]) * (box[3] - box[1])) for box in (first, second)]
    return shared / (sum(areas) - shared)
