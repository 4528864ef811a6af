"""An export says what it finds, refuses what is not to be believed, and is proved by what the user's own code finds."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import Result
from torch import Tensor

import boxcam
from boxcam.bundle import SAMPLE
from boxcam.errors import BoxcamWarning, ImplausibleError, InputError, SourceError, UnknownNameError
from boxcam.runtime.images import read_image
from tests.export.sources.onnx.deployed import HEIGHT, WIDTH, Body
from tests.export.verify.plausible.readings import PLAIN, in_format, raw, write

Cli = Callable[..., Result]
READ: dict[str, Any] = {"boxes": "boxes", "scores": "scores", "score_activation": "none", "preprocess": list(PLAIN)}
AS_NAMED = "boxes-and-scores"
READ |= {"class_names": ["car", "cat", "cup"], "score_threshold": 0.3, "engine": "onnx"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``corners.onnx`` gives corner and size, ``offsets.onnx`` no boxes; and a sample."""
    folder = tmp_path_factory.mktemp("belief")

    def corners(body: Body, image: Tensor) -> Any:
        boxes, logits = body(image)
        return in_format(boxes, "xywh", "pixels"), logits.sigmoid()

    def offsets(body: Body, image: Tensor) -> Any:
        return raw(body, image) * 50, body(image)[1].sigmoid()

    write(folder / "corners.onnx", corners, ("boxes", "scores"))
    write(folder / "offsets.onnx", offsets, ("boxes", "scores"))
    tiles = np.random.default_rng(0).integers(0, 255, (8, 12, 3)).astype(np.uint8)
    cv2.imwrite(str(folder / "street.png"), cv2.resize(tiles, (2 * WIDTH, 2 * HEIGHT)))
    return folder


@pytest.fixture(scope="module")
def bundle(folder: Path) -> Path:
    path = folder / "right.boxcam"
    boxcam.export(folder / "corners.onnx", output=path, box_format="xywh", sample=folder / "street.png", **READ)
    return path


def expected(bundle: Path, folder: Path) -> dict[str, Any]:
    """What the right bundle finds, as the user's own code would give it."""
    found = boxcam.load(bundle, threads=1).detect(read_image(folder / "street.png"))
    return {"boxes": found.boxes.tolist(), "scores": found.scores.tolist(), "labels": list(found.names)}


def test_a_bundle_holds_what_was_found_and_what_is_believed(bundle: Path, folder: Path, cli: Cli) -> None:
    model = boxcam.load(bundle, threads=1)
    sample, found = model.manifest.sample, model.detect(read_image(folder / "street.png"))
    assert sample is not None
    assert (sample.picture, sample.size, sample.count) == ("street.png", (2 * HEIGHT, 2 * WIDTH), len(found))
    assert [one.name for one in sample.best] == list(found.names[:10])
    assert np.allclose([one.box for one in sample.best], found.boxes[:10], atol=0.1)
    assert {one.check: one.verdict for one in model.manifest.plausibility} == dict.fromkeys(
        ("decoded", "boxes", "place", "scores", "normalisation"), "plausible"
    )
    assert SAMPLE in model.manifest.files
    picture = cv2.imread(str(bundle / SAMPLE))
    assert picture.shape[1] / picture.shape[0] == pytest.approx(WIDTH / HEIGHT, rel=0.02)
    said = cli("inspect", bundle).stdout
    assert "proved          that the bundle computes what the model computes, as it was read" in said
    assert "believed        that it was read right, as nothing speaks against it (--expect proves it)" in said
    assert f"found           {sample.count} boxes on street.png: {sample.best[0].name} " in said
    assert "verified" not in said


def test_a_sample_that_was_altered_is_refused(bundle: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.boxcam"
    shutil.copytree(bundle, copy)
    (copy / SAMPLE).write_bytes(b"another picture")
    with pytest.raises(boxcam.BoxcamError, match=r"sample\.png was altered"):
        boxcam.load(copy)


def test_another_image_can_be_looked_at(bundle: Path, folder: Path, cli: Cli) -> None:
    found = boxcam.load(bundle, threads=1).detect(read_image(folder / "street.png"))
    said = cli("inspect", bundle, "--sample", folder / "street.png").stdout.splitlines()[-1]
    best = f"{found.names[0]} {found.scores[0]:.2f}"
    assert said.startswith(f"found           {len(found)} boxes on street.png: {best} at [")


def test_a_wrong_format_is_refused_with_the_right_one(folder: Path, tmp_path: Path, cli: Cli) -> None:
    file = folder / "corners.onnx"
    told = pytest.warns(BoxcamWarning, match="the graph computes boxes as corner and size")
    with told, pytest.raises(ImplausibleError) as refused:
        boxcam.export(file, output=tmp_path / "b", box_format="cxcywh", **READ)
    said = str(refused.value)
    assert said.startswith(f"{file}: of 400 boxes the centres lie 1.8 cells away from the cells that make their scores")
    assert 'Pass box_format="xywh". If it is right as it is, pass accept="place".' in said
    assert not (tmp_path / "b").exists()
    options = ["--boxes", "boxes", "--scores", "scores", "--score-activation", "none", "--box-format", "cxcywh"]
    options += [word for spec in PLAIN for word in ("--preprocess", spec)]
    done = cli("inspect", file, *options)
    assert "An export would refuse it, as it was read" in done.stdout
    assert "Pass --box-format xywh. If it is right as it is, pass --accept place." in done.stdout
    assert "boxcam export" not in done.stdout
    accepted = cli("inspect", file, *options, "--accept", "place").stdout
    assert re.search(r"boxcam export .* --accept place -o corners\.boxcam", accepted)


def test_what_is_accepted_is_exported_and_recorded(folder: Path, tmp_path: Path, cli: Cli) -> None:
    path = tmp_path / "b.boxcam"
    with pytest.raises(ImplausibleError, match=r'the boxes are offsets.*accept="decoded"'):
        boxcam.export(folder / "offsets.onnx", output=path, accept="boxes", convention=AS_NAMED, **READ)
    manifest = boxcam.export(
        folder / "offsets.onnx", output=path, accept=["decoded", "boxes", "place"], convention=AS_NAMED, **READ
    )
    (finding,) = (one for one in manifest.plausibility if one.check == "decoded")
    assert (finding.verdict, finding.accepted) == ("implausible", True)
    assert "accepted: " in cli("inspect", path).stdout


def test_a_criterion_that_there_is_not_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"there is no criterion 'place s'.*Did you mean 'place'"):
        boxcam.export("nowhere.onnx", output=tmp_path / "b", accept="place s")


@pytest.mark.parametrize("kind", ["names", "indices", "COCO", "COCO from 1"])
def test_what_agrees_with_the_users_own_code_is_proved(
    bundle: Path, folder: Path, tmp_path: Path, kind: str, cli: Cli
) -> None:
    right = expected(bundle, folder)
    numbers = [READ["class_names"].index(name) for name in right["labels"]]
    given: Any = right if kind == "names" else {**right, "labels": numbers}
    if kind.startswith("COCO"):
        first = int(kind == "COCO from 1")
        given = [
            {"image_id": 1, "category_id": number + first, "bbox": [x1, y1, x2 - x1, y2 - y1], "score": score}
            for number, (x1, y1, x2, y2), score in zip(numbers, right["boxes"], right["scores"], strict=True)
        ]
    (tmp_path / "mine.json").write_text(json.dumps(given))
    options = {**READ, "box_format": "xywh", "sample": folder / "street.png", "expect": tmp_path / "mine.json"}
    manifest = boxcam.export(folder / "corners.onnx", output=tmp_path / "b", **options)
    assert manifest.sample is not None
    assert manifest.sample.expected == "mine.json"
    said = cli("inspect", tmp_path / "b").stdout
    assert "proved          that it was read right: its boxes on street.png are those of mine.json" in said


def test_what_differs_from_the_users_own_code_is_refused_with_a_picture(
    bundle: Path, folder: Path, tmp_path: Path
) -> None:
    right = expected(bundle, folder)
    moved = [[x1 + 40, y1, x2 + 40, y2] for x1, y1, x2, y2 in right["boxes"]]
    (tmp_path / "mine.json").write_text(json.dumps({**right, "boxes": moved}))
    options = {**READ, "box_format": "xywh", "sample": folder / "street.png", "expect": tmp_path / "mine.json"}
    with pytest.raises(ImplausibleError) as refused:
        boxcam.export(folder / "corners.onnx", output=tmp_path / "b.boxcam", **options)
    picture = tmp_path / "b.expect.png"
    assert re.search(r"it does not find what .*mine\.json expects: \d+ of \d+ boxes are missing", str(refused.value))
    assert f"{picture} shows both" in str(refused.value)
    assert cv2.imread(str(picture)) is not None
    assert not (tmp_path / "b.boxcam").exists()


def test_what_is_expected_needs_a_sample_and_a_file_of_detections(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text('{"boxes": [[1, 2, 3, 4]], "scores": [0.5]}')
    with pytest.raises(InputError, match=r"it has no 'labels'.*Pass a JSON file"):
        boxcam.export(folder / "corners.onnx", output=tmp_path / "b", expect=tmp_path / "mine.json")
    (tmp_path / "mine.json").write_text('{"boxes": [[1, 2, 3, 4]], "scores": [0.5], "labels": [0]}')
    with pytest.raises(SourceError, match="sample="):
        boxcam.export(folder / "corners.onnx", output=tmp_path / "b", expect=tmp_path / "mine.json")
