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

from boxcam.commands.explain import _summary
from boxcam.errors import BoxcamError, OutputError
from boxcam.explain import results
from boxcam.explain.explainer import Explanation, Part
from boxcam.types import CellMap, Detections, Grid


def explanation(*cells: list[list[float]], names: tuple[str, ...] = ()) -> Explanation:
    """Boxes on an image of 8 x 4 pixels, one per map of 2 x 4 cells that are 2 pixels large each."""
    count = len(cells)
    boxes = np.array([[0, 0, 4, 2], [3.5, 1.5, 8, 4], [1, 1, 2, 2]], np.float32)[:count]
    detections = Detections(
        boxes=boxes,
        scores=np.array([0.9, 0.5, 0.4], np.float32)[:count],
        labels=np.array([2, 0, 1], np.int64)[:count],
        names=names or ("third", "first", "second")[:count],
        origin=np.array([[0, 7], [1, 3], [0, 1]], np.int64)[:count],
        logits=np.array([2.2, 0.0, -0.4], np.float32)[:count],
    )
    return Explanation(
        image=np.full((4, 8, 3), 90, np.uint8),
        detections=detections,
        method="gradcam",
        layer="neck",
        engine="torchscript",
        target="logit",
        values=detections.logits,
        parts=tuple(
            (Part("p3", CellMap(np.array(values, np.float32), (0, 0)), Grid(0, 0, 2, 2, (0, 2), (0, 4))),)
            for values in cells
        ),
        guides=None,
        other_boxes=4,
    )


EVEN = [[1.0] * 4] * 2
LEFT = [[2.0, 2.0, 0.0, 0.0], [0.0] * 4]
AGAINST = [[-1.0] * 4] * 2


def save(found: Explanation, folder: Path) -> tuple[Any, dict[str, Any]]:
    results.save(found, folder, "a", "photos/a.jpg", "net.boxcam", {"score_threshold": 0.25})
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
        "share_inside_box": 0.25,  # 8 of 32 pixels
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
    sheet = results.sheet
    monkeypatch.setattr(
        results, "sheet", lambda image, panels, *rest: (shown.extend(panels), sheet(image, panels, *rest))[1]
    )
    nothing = [[0.0] * 4] * 2
    found = explanation(nothing, nothing)
    found = dataclasses.replace(found, parts=(found.parts[0], ()))
    assert (found.depends(0), found.depends(1)) == (True, False)
    said, _ = save(found, tmp_path)
    assert [entry["depends_on_layer"] for entry in said["detections"]] == [True, False]
    assert [entry["positive_evidence"] for entry in said["detections"]] == [False, False]
    assert [panel.depends for panel in shown] == [True, False]
    left = "4 others left out by --score, --top or --class"
    assert _summary(found, 0.3) == f"2 boxes, 1 without positive evidence, 1 not depending on neck, {left}"


def test_what_is_not_there_is_said_with_what_would_show_more() -> None:
    one, left = explanation(EVEN), "4 others left out by --score, --top, --class or --rank"
    assert _summary(one, 0.0, (), (9, 2, 12)) == f"1 box, none at rank 9 or 12, {left}"
    assert _summary(one, 0.5, (), (1, 2)) == f"1 box, none at rank 2 with a score of at least 0.5, {left}"
    assert _summary(one, 0.0, (), (2, 2)) == f"1 box, {left}"
    assert _summary(one, 0.0, (), (1, 2), top=1) == f"1 box, {left}"  # the other one may be there
    none = "no box with a score of at least 0.3, 4 others left out by --score, --top or --class"
    assert _summary(explanation(), 0.3) == f"{none}: --score 0 shows boxes of any score"
    best = "--rank 1 shows its best class, --score 0 boxes of any score"
    assert _summary(explanation(), 0.3, classifier=True) == f"{none}: {best}"


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
    with pytest.raises(OutputError, match=r"cannot write .*a\.\*: (Is a directory|Directory not empty|File exists)\.$"):
        save(explanation(EVEN), tmp_path)
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


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
    assert results.make_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert results.make_folder(tmp_path / "a" / "b").is_dir()
    assert os.listdir(tmp_path / "a" / "b") == []
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match=r"it is a file, not a folder\. Choose a folder with -o\."):
        results.make_folder(tmp_path / "file")
    with pytest.raises(OutputError, match="Not a directory"):
        results.make_folder(tmp_path / "file" / "below")
    with pytest.raises(OutputError, match="File name too long"):
        results.make_folder(tmp_path / ("a" * 300))
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        ([], []),
        (["a.jpg", "b.png"], ["a", "b"]),
        (["x/a.jpg", "y/a.jpg", "a.png"], ["a", "a-2", "a-3"]),
        (["x/a.jpg", "y/a.jpg", "a-2.jpg"], ["a", "a-3", "a-2"]),
        (["a-2.jpg", "x/a.jpg", "y/a.jpg", "z/a-2.jpg"], ["a-2", "a", "a-3", "a-2-2"]),
        (["a.b.jpg", "a.jpg"], ["a.b", "a"]),
    ],
)
def test_names_never_collide(images: list[str], expected: list[str], tmp_path: Path) -> None:
    assert results.names([Path(image) for image in images], tmp_path) == expected


def test_results_never_replace_an_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for image in ("a.png", "b.jpg"):
        (tmp_path / image).touch()
    (tmp_path / "link").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert results.names([Path("b.jpg")], tmp_path) == ["b"]  # b.png, b.npz and b.json are nobody's
    for folder in (tmp_path, Path("."), tmp_path / "link"):
        with pytest.raises(OutputError, match=r"would replace the image a\.png\. Choose another folder with -o\."):
            results.names([Path("b.jpg"), Path("a.png")], folder)


@pytest.mark.parametrize("end", [".png", ".npz", ".json"])
@pytest.mark.parametrize("facts", [None, b"{}", b"[1]", b"\xff\xfe", b'{"box', b"[" * 100_000])
def test_results_never_replace_a_file_of_the_users(end: str, facts: bytes | None, tmp_path: Path) -> None:
    if facts is not None:
        (tmp_path / "a.json").write_bytes(facts)
    if end != ".json" or facts is None:
        (tmp_path / f"a{end}").write_text("mine")
    first = "json" if facts is not None else end[1:]
    with pytest.raises(OutputError, match=rf"would replace .*a\.{first}, which boxcam did not write .* with -o\.$"):
        results.names([Path("elsewhere/a.jpg")], tmp_path)
    assert results.names([Path("elsewhere/b.jpg")], tmp_path) == ["b"]


def test_results_replace_earlier_results(tmp_path: Path) -> None:
    save(explanation(EVEN), tmp_path)
    assert results.names([Path("elsewhere/a.jpg")], tmp_path) == ["a"]
    (tmp_path / "a.png").unlink()
    assert results.names([Path("elsewhere/a.jpg")], tmp_path) == ["a"]


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
    results.save(explanation(EVEN), tmp_path, os.fsdecode(b"caf\xe9"), odd, "net.boxcam", {})
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
        results.save(found, tmp_path, "a", "a.jpg", "net.boxcam", {})
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    one, many = peak_memory(1), peak_memory(count)
    with np.load(tmp_path / "a.npz") as file:
        assert file["maps"].shape == (count, size, size)
    assert many - one < 2 * 4 * size * size  # not eleven maps


def test_a_name_may_be_as_long_as_a_file_system_lets_it(tmp_path: Path) -> None:
    name = "n" * (os.pathconf(tmp_path, "PC_NAME_MAX") - len(".json"))
    results.save(explanation(EVEN), tmp_path, name, f"{name}.jpg", "net.boxcam", {})
    assert sorted(os.listdir(tmp_path)) == [f"{name}.json", f"{name}.npz", f"{name}.png"]
    with pytest.raises(OutputError, match="File name too long"):
        results.save(explanation(EVEN), tmp_path, f"{name}n", f"{name}n.jpg", "net.boxcam", {})
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
