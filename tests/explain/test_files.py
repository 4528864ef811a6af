"""What an explanation leaves on disk: whole files, the same figures in each, and names that never collide."""

from __future__ import annotations

import dataclasses
import json
import os
import stat
import tracemalloc
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from boxcam.errors import BoxcamError, OutputError
from boxcam.explain import pictures
from boxcam.explain.evidence import Part
from boxcam.explain.explanation import Explanation
from boxcam.explain.files import make_folder, write_files
from boxcam.types import CellMap, Grid
from tests.explain.made import AGAINST, EVEN, LEFT, explanation


def save(found: Explanation, folder: Path) -> tuple[Any, dict[str, Any]]:
    assert found.save(folder, "a") == (folder / "a.png", folder / "a.npz", folder / "a.json")
    with np.load(folder / "a.npz", allow_pickle=False) as file:
        return json.loads((folder / "a.json").read_text(encoding="utf-8")), dict(file)


def test_the_three_files_say_the_same(tmp_path: Path) -> None:
    found = explanation(EVEN, LEFT, AGAINST)
    said, arrays = save(found, tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["a.json", "a.npz", "a.png"]
    assert {key: said[key] for key in ("bundle", "image", "height", "width", "method", "layer", "engine")} == {
        "bundle": "net.boxcam",
        "image": "photos/a.jpg",
        "height": 4,
        "width": 8,
        "method": "gradcam",
        "layer": "neck",
        "engine": "torchscript",
    }
    assert (said["overlay"], said["maps"], said["other_boxes"], said["score_threshold"]) == ("a.png", "a.npz", 4, 0.25)
    assert set(arrays) == {"maps", "boxes", "scores", "labels", "names", "origin", "logits"}
    assert arrays["maps"].dtype == np.float32
    assert np.array_equal(arrays["maps"], found.maps)
    for key in ("boxes", "scores", "labels", "origin", "logits"):
        assert np.array_equal(arrays[key], getattr(found.detections, key))
        assert arrays[key].dtype == getattr(found.detections, key).dtype
    assert arrays["names"].tolist() == ["third", "first", "second"]
    first, second, third = said["detections"]
    assert first == {
        "box": [0, 0, 4, 2],
        "label": 2,
        "name": "third",
        "score": pytest.approx(0.9),
        "logit": pytest.approx(2.2),
        "origin": [0, 7],
        "target": pytest.approx(2.2),
        "tensors": ["p3"],
        "depends_on_layer": True,
        "peak": 1.0,
        "positive_evidence": True,
        "rounding": False,
        "share_inside_box": 0.25,  # 8 of 32 pixels
        "completeness": None,
        "against": None,
        "candidate": None,
    }
    assert second["box"] == [3.5, 1.5, 8, 4]
    assert (third["peak"], third["positive_evidence"], third["share_inside_box"]) == (-1.0, False, None)
    sheet = cv2.imread(str(tmp_path / "a.png"))
    assert sheet is not None
    assert sheet.dtype == np.uint8


def test_a_share_counts_every_pixel_that_the_box_touches(tmp_path: Path) -> None:
    said, _ = save(explanation(EVEN, EVEN), tmp_path)
    assert said["detections"][1]["share_inside_box"] == pytest.approx(5 * 3 / 32)  # x 3 to 8, y 1 to 4


def test_a_box_that_does_not_depend_on_the_layer_is_told_from_one_without_evidence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Any] = []
    sheet = pictures.sheet
    monkeypatch.setattr(
        pictures, "sheet", lambda image, panels, *rest: (shown.extend(panels), sheet(image, panels, *rest))[1]
    )
    nothing = [[0.0] * 4] * 2
    found = explanation(nothing, nothing)
    found = dataclasses.replace(found, parts=(found.parts[0], ()))
    assert (found.depends(0), found.depends(1)) == (True, False)
    said, _ = save(found, tmp_path)
    assert [entry["depends_on_layer"] for entry in said["detections"]] == [True, False]
    assert [entry["positive_evidence"] for entry in said["detections"]] == [False, False]
    assert [panel.depends for panel in shown] == [True, False]


def test_no_box(tmp_path: Path) -> None:
    said, arrays = save(explanation(), tmp_path)
    assert said["detections"] == []
    assert arrays["maps"].shape == (0, 4, 8)
    assert arrays["names"].shape == (0,)
    assert cv2.imread(str(tmp_path / "a.png")) is not None


def test_names_in_any_script(tmp_path: Path) -> None:
    said, arrays = save(explanation(EVEN, names=('Füße "猫" \\',)), tmp_path)
    assert said["detections"][0]["name"] == arrays["names"][0] == 'Füße "猫" \\'


def test_files_have_the_rights_that_the_user_asks_for(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        save(explanation(EVEN), tmp_path)
    finally:
        os.umask(before)
    assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()} == {0o640}


@pytest.mark.parametrize("end", [".npz", ".png", ".json"])
def test_a_file_that_cannot_be_written_leaves_no_half_of_it(end: str, tmp_path: Path) -> None:
    (tmp_path / f"a{end}").mkdir()
    (tmp_path / f"a{end}" / "mine").touch()
    with pytest.raises(OutputError, match=rf"cannot write .*a\.\*: a\{end} is a folder\. Choose another folder\.$"):
        write_files(explanation(EVEN), tmp_path, "a")
    assert os.listdir(tmp_path) == [f"a{end}"]  # nor any of the other two


def test_a_name_that_is_too_long_is_what_has_to_be_mended(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"File name too long\. Give the image, or the folder, a shorter name\.$"):
        write_files(explanation(EVEN), tmp_path, "a" * 252)
    assert os.listdir(tmp_path) == []
    write_files(explanation(EVEN), tmp_path, "a" * 250)


def test_an_interruption_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(explanation(EVEN), tmp_path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    def interrupt(self: Explanation, index: int) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(Explanation, "map", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save(explanation(LEFT), tmp_path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_a_folder_is_made_and_can_be_written(tmp_path: Path) -> None:
    assert make_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert make_folder(tmp_path / "a" / "b").is_dir()
    assert os.listdir(tmp_path / "a" / "b") == []
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match=r"it is a file, not a folder\. Choose another folder\."):
        make_folder(tmp_path / "file")
    with pytest.raises(OutputError, match="Not a directory"):
        make_folder(tmp_path / "file" / "below")
    with pytest.raises(OutputError, match="File name too long"):
        make_folder(tmp_path / ("a" * 300))
    assert (tmp_path / "file").read_text() == "mine"


def test_the_file_that_marks_results_as_ours_is_in_place_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between two files, a run can be repeated."""
    placed: list[str] = []
    replace = os.replace

    def record(source: Any, target: Any) -> None:
        placed.append(Path(target).name)
        replace(source, target)

    monkeypatch.setattr(os, "replace", record)
    save(explanation(EVEN), tmp_path)
    assert (placed[0], sorted(placed)) == ("a.json", ["a.json", "a.npz", "a.png"])


def test_a_file_name_that_is_not_utf8_comes_back_from_the_json(tmp_path: Path) -> None:
    odd = os.fsdecode(b"caf\xe9.jpg")
    explanation(EVEN, image=odd).save(tmp_path)
    assert sorted(os.listdir(os.fsencode(tmp_path))) == [b"caf\xe9.json", b"caf\xe9.npz", b"caf\xe9.png"]
    said = json.loads((tmp_path / os.fsdecode(b"caf\xe9.json")).read_text(encoding="utf-8"))
    assert said["image"] == odd
    assert (tmp_path / said["maps"]).is_file()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("field", ["boxes", "scores", "logits"])
def test_a_value_that_is_no_number_is_an_error_and_nothing_is_written(field: str, value: float, tmp_path: Path) -> None:
    found = explanation(EVEN, LEFT)
    detections = dataclasses.replace(found.detections, **{field: np.full_like(getattr(found.detections, field), value)})
    with pytest.raises(BoxcamError, match=rf"photos/a\.jpg: the model's {field} hold NaN or infinite values"):
        save(dataclasses.replace(found, detections=detections), tmp_path)
    assert os.listdir(tmp_path) == []


def test_memory_does_not_grow_by_a_map_for_each_box(tmp_path: Path) -> None:
    """The archive has every map whole; what is kept for the sheet is as small as its panels."""
    count, size = 12, 2000
    cells = CellMap(np.array(LEFT, np.float32), (0, 0))

    def peak_memory(boxes: int) -> int:
        found = dataclasses.replace(
            explanation(*[LEFT] * 3),
            image=np.zeros((size, size, 3), np.uint8),
            detections=explanation(*[LEFT] * 3).detections.select([0] * boxes),
            values=np.zeros(boxes, np.float32),
            parts=((Part("p3", cells, Grid(0, 0, size / 2, size / 4, (0, 2), (0, 4))),),) * boxes,
        )
        tracemalloc.start()
        found.save(tmp_path, "a")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    one, many = peak_memory(1), peak_memory(count)
    with np.load(tmp_path / "a.npz") as file:
        assert file["maps"].shape == (count, size, size)
    assert many - one < 2 * 4 * size * size  # not eleven maps


def test_a_name_may_be_as_long_as_a_file_system_lets_it(tmp_path: Path) -> None:
    name = "n" * (os.pathconf(tmp_path, "PC_NAME_MAX") - len(".json"))
    explanation(EVEN).save(tmp_path, name)
    assert sorted(os.listdir(tmp_path)) == [f"{name}.json", f"{name}.npz", f"{name}.png"]
    with pytest.raises(OutputError, match="File name too long"):
        explanation(EVEN).save(tmp_path, f"{name}n")
    assert len(os.listdir(tmp_path)) == 3


def test_the_rights_that_other_threads_give_their_files_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def changed(mask: int) -> int:
        raise AssertionError("the umask is the whole process's")

    monkeypatch.setattr(os, "umask", changed)
    save(explanation(EVEN), tmp_path)


@pytest.mark.parametrize(
    ("values", "corner", "grid", "expected"),
    [
        ([[0, 5, 5]], (0, 0), Grid(0, 0, 4, 8, (0, 1), (0, 1)), False),  # only padding's cells are positive
        ([[0, 5, 5]], (0, 0), Grid(0, 0, 4, 4, (0, 1), (0, 2)), True),
        ([[5, 5, 0]], (0, -2), Grid(0, 0, 4, 8, (0, 1), (0, 1)), False),  # ... or such that overhang the feature map
        ([[5, 5, 0]], (0, -1), Grid(0, 0, 4, 4, (0, 1), (0, 2)), True),
        ([[5], [0]], (3, 0), Grid(-16, 0, 4, 8, (4, 5), (0, 1)), False),
        ([[5], [0]], (4, 0), Grid(-16, 0, 4, 8, (4, 5), (0, 1)), True),
        ([[5]], (0, 0), Grid(0, 9, 4, 8, (0, 1), (0, 1), (9, 0, 17, 4)), False),  # a proposal beside the image
        ([[-5]], (0, 0), Grid(0, 0, 4, 8, (0, 1), (0, 1)), False),
    ],
)
def test_evidence_is_what_the_map_shows(
    values: list[list[float]], corner: tuple[int, int], grid: Grid, expected: bool, tmp_path: Path
) -> None:
    cells = CellMap(np.array(values, np.float32), corner)
    found = dataclasses.replace(explanation(EVEN), parts=((Part("p3", cells, grid),),))
    assert found.has_evidence(0) == expected
    assert bool((found.map(0) > 0).any()) == expected
    said, _ = save(found, tmp_path)
    assert said["detections"][0]["positive_evidence"] == expected
    assert (said["detections"][0]["share_inside_box"] is not None) == expected
