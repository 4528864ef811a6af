"""`boxcam explain` as a person runs it: what it prints and writes, and what it never replaces."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import boxcam
from boxcam.errors import LimitError, RunError
from tests.commands.written import Cli, arrays, facts, results


def test_explain_writes_a_sheet_maps_and_facts_for_each_image(
    signs: Path, signs_bundle: Path, signs_model: boxcam.Model, tmp_path: Path, cli: Cli
) -> None:
    done = cli("explain", signs_bundle, signs / "images", "-o", tmp_path / "new" / "out", "--threads", "1")
    assert (done.exit_code, done.stderr) == (0, "")
    images = sorted((signs / "images").glob("*.jpg"))
    *lines, wrote, last = done.stdout.splitlines()
    assert wrote == f"wrote the results of 6 of 6 pictures to {tmp_path / 'new' / 'out'}"
    assert last == f"browse them in {tmp_path / 'new' / 'out' / 'index.html'}"
    assert [line.split(":")[0] for line in lines] == [image.name for image in images]
    folder = tmp_path / "new" / "out"
    of_images = [image.stem + end for image in images for end in (".json", ".npz", ".png")]
    assert results(folder) == sorted([*of_images, "index.html"])
    for image, line in zip(images, lines, strict=True):
        height, width = cv2.imread(str(image)).shape[:2]
        said, raw = facts(folder, image.stem), arrays(folder, image.stem)
        count = len(said["detections"])
        assert re.match(rf"{image.name}: {count} boxes", line)
        assert count >= 3
        assert (said["height"], said["width"], said["image"]) == (height, width, str(image))
        assert (said["method"], said["layer"], said["engine"]) == ("hirescam", "neck", "onnx")
        assert (said["boxcam"], said["bundle"], said["score_threshold"]) == (boxcam.__version__, "signs.boxcam", 0.3)

        assert raw["maps"].dtype == np.float32
        assert raw["maps"].shape == (count, height, width)
        assert np.isfinite(raw["maps"]).all()
        for key in ("boxes", "scores", "labels", "logits", "origin", "names"):
            assert len(raw[key]) == count
        for k, entry in enumerate(said["detections"]):
            assert entry["box"] == pytest.approx(raw["boxes"][k], abs=1e-3)
            assert (entry["label"], entry["name"]) == (raw["labels"][k], raw["names"][k])
            assert entry["name"] == signs_model.manifest.labels[entry["label"]]
            assert (entry["score"], entry["logit"]) == pytest.approx((raw["scores"][k], raw["logits"][k]))
            assert entry["score"] == pytest.approx(1 / (1 + np.exp(-entry["logit"])), abs=1e-6)
            assert entry["origin"] == raw["origin"][k].tolist()
            assert entry["peak"] == raw["maps"][k].max()
            assert entry["positive_evidence"] == bool((raw["maps"][k] > 0).any())
            x1, y1, x2, y2 = (int(v) for v in (*np.floor(raw["boxes"][k][:2]), *np.ceil(raw["boxes"][k][2:])))
            positive = np.maximum(raw["maps"][k], 0).astype(np.float64)
            share = positive[y1:y2, x1:x2].sum() / positive.sum() if positive.any() else None
            assert entry["share_inside_box"] == (None if share is None else pytest.approx(share, abs=1e-5))

        sheet = cv2.imread(str(folder / said["overlay"]))
        assert sheet.shape[0] > 2 * 250  # several panels, not one picture
        assert sheet.shape[1] > 2 * 250
        assert (sheet[:5] == 255).all()
        assert (folder / said["maps"]).is_file()

    same = boxcam.explain(signs_model, images[0], top=10)
    assert np.array_equal(arrays(folder, images[0].stem)["boxes"], same.detections.boxes)
    assert np.allclose(arrays(folder, images[0].stem)["maps"], same.maps, rtol=1e-4, atol=1e-6 * same.maps.max())


def test_explain_takes_every_option(signs: Path, signs_bundle: Path, tmp_path: Path, cli: Cli) -> None:
    image = signs / "images" / "cat.jpg"
    done = cli(
        *("explain", signs_bundle, image, "-o", tmp_path, "--method", "hirescam", "--layer", "backbone"),
        *("--engine", "torchscript", "--score", "0.1", "--top", "2", "--class", "Stop", "--class", "3"),
        *("--threads", "1"),
    )
    assert (done.exit_code, done.stderr) == (0, "")
    said = facts(tmp_path, "cat")
    assert (said["method"], said["layer"], said["engine"]) == ("hirescam", "backbone", "torchscript")
    assert said["score_threshold"] == 0.1
    assert len(said["detections"]) == 2
    assert {entry["name"] for entry in said["detections"]} <= {"stop", "no entry"}  # no entry has number 3
    assert arrays(tmp_path, "cat")["maps"].min() < 0  # raw: hirescam speaks against, too
    assert f"cat.jpg: 2 boxes, {said['other_boxes']} others left out (" in done.stdout
    left = re.search(r"left out \((.+)\)\n", done.stdout)
    assert left is not None
    reasons = set(re.split(r", |\d+ ", left[1])) - {""}
    assert reasons <= {"of other classes", "below score 0.1", "beyond --top 2"}
    done = cli("explain", signs_bundle, image, "-o", tmp_path, "--class", "no entry", "--threads", "1")
    assert {entry["name"] for entry in facts(tmp_path, "cat")["detections"]} == {"no entry"}
    done = cli("explain", signs_bundle, image, "-o", tmp_path, "--top", "1", "--threads", "1")
    assert "cat.jpg: 1 box, " in done.stdout


def test_quiet_means_silent(signs: Path, signs_bundle: Path, tmp_path: Path, cli: Cli) -> None:
    done = cli("explain", signs_bundle, signs / "images" / "cat.jpg", "-o", tmp_path, "--top", "1", "--quiet")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "")
    assert results(tmp_path) == ["cat.json", "cat.npz", "cat.png", "index.html"]


@pytest.mark.parametrize("command", ["explain", "demo"])
def test_results_go_to_a_folder(command: str, signs: Path, signs_bundle: Path, tmp_path: Path, cli: Cli) -> None:
    given = ["explain", signs_bundle, signs / "images" / "cat.jpg"] if command == "explain" else ["demo"]
    done = cli(*given, "-o", tmp_path / "x.png")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == (
        f"boxcam: {tmp_path / 'x.png'} has the name of a file, and the results are several files in a folder. Pass"
        " another folder with --output.\n"
    )
    (tmp_path / "out").write_text("mine")
    done = cli(*given, "-o", tmp_path / "out")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == (
        f"boxcam: cannot write into {tmp_path / 'out'}: it is a file, not a folder. Choose another folder.\n"
    )
    assert results(tmp_path) == ["out"]


def test_no_box_is_a_normal_result(signs: Path, signs_bundle: Path, tmp_path: Path, cli: Cli) -> None:
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((50, 80, 3), 128, np.uint8))
    done = cli("explain", signs_bundle, tmp_path / "grey.png", signs / "images" / "cat.jpg", "-o", tmp_path / "out",
               "--score", "1", "--threads", "1")  # fmt: skip
    assert (done.exit_code, done.stderr) == (0, "")
    first, second, last, _ = done.stdout.splitlines()
    assert first.startswith("grey.png: no box with a score of at least 1")
    assert re.fullmatch(
        r"cat.jpg: no box with a score of at least 1, \d+ others left out \(below score 1\); --score 0 shows boxes of"
        " any score",
        second,
    )
    assert last == f"wrote the results of 2 of 2 pictures to {tmp_path / 'out'}; no box in 2 of 2 pictures"
    said, raw = facts(tmp_path / "out", "grey"), arrays(tmp_path / "out", "grey")
    assert said["detections"] == []
    assert (raw["maps"].shape, raw["maps"].dtype) == ((0, 50, 80), np.float32)
    assert raw["boxes"].shape == (0, 4)
    assert cv2.imread(str(tmp_path / "out" / "grey.png")) is not None
    assert facts(tmp_path / "out", "cat")["other_boxes"] >= 5


def test_what_fails_on_one_image_keeps_none_from_the_others(
    signs: Path, signs_bundle: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    explain = boxcam.Model.explain

    def fails_on_street(model: boxcam.Model, file: Path, **options: Any) -> boxcam.Explanation:
        if file.stem == "street":
            raise RunError("forward.onnx failed in onnxruntime: the model finds nothing there.")
        return explain(model, file, **options)

    monkeypatch.setattr(boxcam.Model, "explain", fails_on_street)
    images = [signs / "images" / name for name in ("street.jpg", "none.jpg", "cat.jpg")]
    pattern = signs / "images" / "*.gif"
    done = cli("explain", signs_bundle, *images, pattern, "-o", tmp_path, "--top", "1", "--threads", "1")
    assert done.exit_code == 1
    assert done.stdout.startswith("cat.jpg: 1 box")
    assert f"\nwrote the results of 1 of 4 pictures to {tmp_path}\n" in done.stdout
    assert [line.partition(" ")[2].partition(".")[0] for line in done.stderr.splitlines()] == [
        str(images[1]).partition(".")[0],
        f"pattern {signs / 'images' / '*'}",
        str(images[0]).partition(".")[0],
    ]
    assert "street.jpg: forward.onnx failed in onnxruntime: the model finds nothing there." in done.stderr
    assert results(tmp_path) == ["cat.json", "cat.npz", "cat.png", "index.html"]


def test_files_folders_and_patterns_and_names_that_meet(
    signs: Path, signs_bundle: Path, tmp_path: Path, cli: Cli
) -> None:
    for name, image in {"a/x.jpg": "cat", "b/x.jpg": "street", "c/deep/y.jpg": "towers", "c/x-2.jpg": "saucer"}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(signs / "images" / f"{image}.jpg", tmp_path / name)
    (tmp_path / "b" / "notes.txt").touch()
    done = cli("explain", signs_bundle, tmp_path / "a" / "x.jpg", tmp_path / "b", tmp_path / "c" / "**" / "*.jpg",
               "-o", tmp_path / "out", "--top", "1", "--threads", "1")  # fmt: skip
    assert (done.exit_code, done.stderr) == (0, "")
    assert f"\nwrote the results of 4 of 4 pictures to {tmp_path / 'out'}\n" in done.stdout
    written = {name: facts(tmp_path / "out", name)["image"] for name in ("x", "x-2", "x-3", "y")}
    assert {name: os.path.relpath(image, tmp_path) for name, image in written.items()} == {
        "x": "a/x.jpg",
        "x-3": "b/x.jpg",  # x-2 belongs to the image that is called so
        "x-2": "c/x-2.jpg",
        "y": "c/deep/y.jpg",
    }
    assert len(results(tmp_path / "out")) == 12 + 1  # and the page


def test_pictures_without_a_box_are_counted(signs: Path, signs_bundle: Path, tmp_path: Path, cli: Cli) -> None:
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((50, 80, 3), 128, np.uint8))
    (tmp_path / "broken.jpg").touch()
    images = (tmp_path / "grey.png", signs / "images" / "cat.jpg", tmp_path / "broken.jpg")
    done = cli("explain", signs_bundle, *images, "-o", tmp_path / "out", "--top", "1", "--threads", "1")
    assert done.exit_code == 1
    last = done.stdout.splitlines()[-2]
    assert last == f"wrote the results of 2 of 3 pictures to {tmp_path / 'out'}; no box in 1 of 2 pictures"


def test_a_bundle_among_the_images_is_told(signs: Path, signs_bundle: Path, tmp_path: Path, cli: Cli) -> None:
    image = signs / "images" / "cat.jpg"
    done = cli("explain", image, signs_bundle, "-o", tmp_path / "out")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == (
        f"boxcam: the bundle and the images are swapped: {image} is not a bundle, and {signs_bundle} is one. Give the"
        " bundle first, then the images.\n"
    )


def test_explain_asks_only_what_everybody_may() -> None:
    """What the command needs of explaining is public; the rest is about files on the command line."""
    text = (Path(boxcam.__file__).parent / "commands" / "explain.py").read_text(encoding="utf-8")
    inner = set(re.findall(r"from (boxcam\.(?:explain|model|_api|runtime)[\w.]*) import", text))
    assert inner == {
        *("boxcam.explain.files", "boxcam.explain.names", "boxcam.runtime.images"),  # folders, names, patterns
        "boxcam.explain.browse.index",  # the page of all boxes
        "boxcam.explain.look",  # the words for how sheets look
        "boxcam.runtime.planes",  # the size of what is there
        "boxcam.explain.methods",  # what they count
    }


def test_explaining_again_replaces_the_results(signs: Path, signs_bundle: Path, tmp_path: Path, cli: Cli) -> None:
    for top in ("1", "2"):
        cli("explain", signs_bundle, signs / "images" / "cat.jpg", "-o", tmp_path, "--top", top, "-q", "--threads", "1")
    assert len(facts(tmp_path, "cat")["detections"]) == len(arrays(tmp_path, "cat")["maps"]) == 2
    assert results(tmp_path) == ["cat.json", "cat.npz", "cat.png", "index.html"]


def test_a_run_that_ends_early_leaves_the_page_of_what_is_done(
    signs: Path, signs_bundle: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not one of an earlier run, whose maps were others."""
    images = [signs / "images" / f"{name}.jpg" for name in ("cat", "houses", "street")]
    given = ("explain", signs_bundle, *images, "-o", tmp_path, "-q", "--threads", "1", "--top", "1", "--method")
    assert cli(*given, "gradcam").exit_code == 0
    real = boxcam.Model.explain

    def ends(model: boxcam.Model, image: Path, **options: Any) -> boxcam.Explanation:
        if image.stem == "houses":
            raise LimitError("it has taken longer than the timeout of 1 s.")
        return real(model, image, **options)

    monkeypatch.setattr(boxcam.Model, "explain", ends)
    assert cli(*given, "layercam").exit_code == 1
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "method layercam" in page
    assert "1 box in 1 image" in page
    assert "houses" not in page


def test_results_never_replace_an_image(signs: Path, signs_bundle: Path, tmp_path: Path, cli: Cli) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), cv2.imread(str(signs / "images" / "cat.jpg")))
    before = (tmp_path / "a.png").read_bytes()
    done = cli("explain", signs_bundle, tmp_path, "-o", tmp_path)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "would replace the image" in done.stderr
    assert (tmp_path / "a.png").read_bytes() == before


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_file_name_that_no_terminal_can_show(encoding: str, signs: Path, signs_bundle: Path, tmp_path: Path) -> None:
    image = os.fsencode(tmp_path) + b"/caf\xe9.jpg"
    shutil.copy(signs / "images" / "cat.jpg", image)
    broken = os.fsencode(tmp_path) + b"/\xff.jpg"
    Path(os.fsdecode(broken)).touch()
    command = [sys.executable, "-m", "boxcam.cli", "explain", signs_bundle, image, broken, "-o", tmp_path, "--top", "1"]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONIOENCODING": f"{encoding}:strict"}, capture_output=True, check=False
    )
    assert done.returncode == 1
    assert done.stdout.startswith(b"caf\\udce9.jpg: 1 box")
    assert re.fullmatch(rb"boxcam: .*/\\udcff\.jpg is empty\. Copy it again\.\n", done.stderr)
    assert {b"caf\xe9.json", b"caf\xe9.npz", b"caf\xe9.png"} <= set(os.listdir(os.fsencode(tmp_path)))


def test_results_never_replace_a_file_that_was_not_given(
    signs: Path, signs_bundle: Path, tmp_path: Path, cli: Cli
) -> None:
    shutil.copy(signs / "images" / "cat.jpg", tmp_path / "a.jpg")
    (tmp_path / "a.png").write_text("a drawing")
    done = cli("explain", signs_bundle, tmp_path / "a.jpg", "-o", tmp_path)
    assert (done.exit_code, done.stdout) == (1, "")
    assert f"would replace {tmp_path / 'a.png'}, which boxcam did not write" in done.stderr
    assert (tmp_path / "a.png").read_text() == "a drawing"
    assert results(tmp_path) == ["a.jpg", "a.png"]


def test_a_result_that_cannot_be_written_keeps_none_from_the_others(
    signs: Path, signs_bundle: Path, tmp_path: Path, cli: Cli
) -> None:
    (tmp_path / "in").mkdir()
    for name in ("n" * 251, "o"):  # .jpg fits, .json does not
        shutil.copy(signs / "images" / "cat.jpg", tmp_path / "in" / f"{name}.jpg")
    done = cli("explain", signs_bundle, tmp_path / "in", "-o", tmp_path / "out", "--top", "1", "--threads", "1")
    assert done.exit_code == 1
    shorter = r"Give the image, or the folder, a shorter name\.\n"
    assert re.fullmatch(rf"boxcam: cannot write .*/n+\.\*: File name too long\. {shorter}", done.stderr)
    assert f"\nwrote the results of 1 of 2 pictures to {tmp_path / 'out'}\n" in done.stdout
    assert results(tmp_path / "out") == ["index.html", "o.json", "o.npz", "o.png"]


def test_a_target_that_a_bundle_lacks_is_told_with_what_to_export(
    signs: Path, signs_bundle: Path, tmp_path: Path, cli: Cli
) -> None:
    done = cli("explain", signs_bundle, signs / "images" / "cat.jpg", "-o", tmp_path / "out", "--target", "x1")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "no target 'x1' (it has: logit)" in done.stderr
    assert "Export the model again with --target logit --target x1, in addition to" in done.stderr
    assert not (tmp_path / "out").exists()
