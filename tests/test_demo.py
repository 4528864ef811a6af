"""`boxcam demo`: heatmaps in the first minute, from files in the package that are what export makes today."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnx.utils
import pytest
from click.testing import Result

import boxcam
from boxcam.bundle import Layer, read
from boxcam.commands.demo import DATA

Cli = Callable[..., Result]
README_SHEET = Path(__file__).parents[1] / "docs" / "overlay.jpg"
SHEETS = ["cat.png", "houses.png", "street.png"]
STALE = "boxcam/demo/{} is stale: {}. It is what 'boxcam demo' shows; run 'make demo-bundle' and commit what changed."
LARGEST = 5_000_000
"""Bytes of the demo's files, which everybody who installs boxcam gets."""


def files(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


def test_its_files_are_small() -> None:
    found = files(DATA)
    assert len(found) == 16
    assert sum(map(len, found.values())) < LARGEST


def test_its_pictures_are_those_of_the_demo_detector(signs: Path) -> None:
    found = files(DATA / "images")
    assert [f"{Path(name).stem}.png" for name in found] == SHEETS
    for name, content in found.items():
        assert content == (signs / "images" / name).read_bytes(), STALE.format(f"images/{name}", "it has been redrawn")


def only_onnx(layer: Layer) -> Layer:
    return dataclasses.replace(layer, gradients=tuple(g for g in layer.gradients if g.engine == "onnx"))


def test_its_manifest_is_what_export_writes_today(signs_bundle: Path) -> None:
    shipped, fresh = read(DATA / "signs"), read(signs_bundle)
    for name in ("format", "labels", "input", "preprocess", "outputs", "targets"):
        assert getattr(shipped, name) == getattr(fresh, name), STALE.format("signs", f"{name} has changed")
    expected = [only_onnx(layer) for layer in fresh.layers if layer.name == "neck"]
    assert list(shipped.layers) == expected, STALE.format("signs", "the layer has changed")


@pytest.mark.parametrize("method", ["gradcam", "hirescam"])  # by the means of gradients, and by the gradients
def test_its_boxes_and_maps_are_those_of_export_today(method: str, signs: Path, signs_model: boxcam.Model) -> None:
    shipped = boxcam.load(DATA / "signs", threads=1)
    for image in sorted((signs / "images").glob("*.jpg")):
        found, fresh = (
            boxcam.explain(model, image, method=method, layer="neck", score=0.05) for model in (shipped, signs_model)
        )
        assert len(fresh) >= 5
        assert found.detections.names == fresh.detections.names, STALE.format("signs", "other boxes are found")
        pairs = {
            "boxes": (found.detections.boxes, fresh.detections.boxes),
            "scores": (found.detections.scores, fresh.detections.scores),
            "maps": (found.maps, fresh.maps),
        }
        for name, (old, new) in pairs.items():
            off = float(np.abs(old - new).max() / np.abs(new).max())
            assert off <= 1e-5, STALE.format("signs", f"{name} of {image.name} differ by {off:.1e} of the largest")


def test_it_shows_heatmaps_without_a_network(runtime_python: str, tmp_path: Path) -> None:
    """In the environment that users have, who never heard of a training framework."""
    code = """
import sys
def no_network(event, arguments):
    if event.startswith(("socket.connect", "socket.getaddrinfo")):
        raise OSError("there is no network")
sys.addaudithook(no_network)
from boxcam.cli import main
main()
"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    command = [runtime_python, "-c", code, "demo", "-o", "out"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert "wrote the results of 3 of 3 pictures to out\n" in done.stdout
    assert sorted(os.listdir(tmp_path)) == ["out"]
    assert [sheet for sheet in SHEETS if not (tmp_path / "out" / sheet).is_file()] == []
    facts = json.loads((tmp_path / "out" / "cat.json").read_text(encoding="utf-8"))
    assert [entry["name"] for entry in facts["detections"]].count("stop") == 2
    with np.load(tmp_path / "out" / "cat.npz") as arrays:
        assert arrays["maps"].shape[0] == len(facts["detections"])
        assert (arrays["maps"].max(axis=(1, 2)) > 0).all()


def test_every_command_that_it_shows_can_be_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli, signs: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    done = cli("demo", "-o", "my out")  # with a space: the commands are quoted
    assert done.exit_code == 0, done.output
    shown = [line.strip().removeprefix("$ ") for line in done.stdout.splitlines() if re.match(r"(  |\$ )boxcam ", line)]
    assert [line.split()[1] for line in shown] == ["explain", "inspect", "explain", "inspect"]
    forward = str(tmp_path / "my out" / "signs.boxcam" / "forward.onnx")
    onnx.utils.extract_model(forward, "model.onnx", ["image"], ["dets", "labels"])  # a detector as others deploy it
    for line in shown:
        again = cli(*shlex.split(line)[1:])
        assert (again.exit_code, again.stderr) == (0, ""), line
    assert (tmp_path / "my out" / "gradcam" / "street.png").is_file()
    for named in re.findall(r"my out/[\w./]+", done.stdout):
        assert (tmp_path / named.rstrip(".")).exists(), named


def test_the_mistake_that_it_points_out_is_one(signs: Path) -> None:
    truth = json.loads((signs / "images" / "truth.json").read_text(encoding="utf-8"))["houses.jpg"]
    found = boxcam.explain(boxcam.load(DATA / "signs"), DATA / "images" / "houses.jpg", score=0.3).detections
    wrong = [
        name
        for name, box in zip(found.names, found.boxes, strict=True)
        if not any(name == sign["label"] and np.abs(box - np.array(sign["box"])).max() < 8 for sign in truth)
    ]
    assert wrong == ["pedestrian crossing"]


def test_the_picture_of_the_readme_is_what_it_draws(tmp_path: Path, cli: Cli) -> None:
    assert cli("demo", "-o", tmp_path, "-q").exit_code == 0
    of_readme, drawn = cv2.imread(str(README_SHEET)), cv2.imread(str(tmp_path / "street.png"))
    assert of_readme is not None
    assert drawn is not None
    assert of_readme.shape == drawn.shape, "renew it with scripts/docs_pictures.py"
    assert np.abs(of_readme.astype(int) - drawn).mean() < 3  # a JPEG is not exact; another layout differs by more


def test_run_again_it_gives_the_same(tmp_path: Path, cli: Cli) -> None:
    first = cli("demo", "-o", tmp_path / "out")
    made = files(tmp_path / "out")
    dated = (tmp_path / "out" / "signs.boxcam" / "forward.onnx").stat().st_mtime_ns
    again = cli("demo", "-o", tmp_path / "out")
    assert (again.exit_code, again.stdout) == (0, first.stdout)
    assert files(tmp_path / "out").keys() == made.keys()
    assert (tmp_path / "out" / "signs.boxcam" / "forward.onnx").stat().st_mtime_ns == dated  # not written anew


def test_quiet_means_silent(tmp_path: Path, cli: Cli) -> None:
    done = cli("demo", "-q", "-o", tmp_path / "out")
    assert (done.exit_code, done.output) == (0, "")
    assert (tmp_path / "out" / "cat.png").is_file()


@pytest.mark.parametrize(
    "place", ["signs.boxcam/manifest.json", "signs.boxcam/gradient.neck.onnx", "images/street.jpg", "cat.png"]
)
def test_a_file_that_is_not_the_demos_is_left_alone(place: str, tmp_path: Path, cli: Cli) -> None:
    foreign = tmp_path / "out" / place
    foreign.parent.mkdir(parents=True)
    foreign.write_text("mine")
    done = cli("demo", "-o", tmp_path / "out", "-q")
    assert (done.exit_code, done.stdout) == (1, "")
    assert re.fullmatch(r"boxcam: [^\n]+\n", done.stderr)
    assert str(foreign) in done.stderr
    assert foreign.read_text() == "mine"
    if place != "cat.png":  # that is seen by explain, when the demo's own files are there
        assert files(tmp_path / "out") == {place: b"mine"}


def test_a_folder_or_a_dangling_link_in_a_files_place(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "one" / "images" / "cat.jpg").mkdir(parents=True)
    (tmp_path / "two" / "images").mkdir(parents=True)
    (tmp_path / "two" / "images" / "cat.jpg").symlink_to(tmp_path / "nowhere.jpg")
    for name in ("one", "two"):
        done = cli("demo", "-o", tmp_path / name)
        assert (done.exit_code, done.stdout) == (1, "")
        assert f"{tmp_path / name / 'images' / 'cat.jpg'} is in the way" in done.stderr
    assert not (tmp_path / "nowhere.jpg").exists()


@pytest.mark.parametrize("place", ["out", "out/signs.boxcam"])
def test_a_file_where_a_folder_should_be(place: str, tmp_path: Path, cli: Cli) -> None:
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).touch()
    done = cli("demo", "-o", tmp_path / "out")
    assert (done.exit_code, done.stdout) == (1, "")
    assert re.fullmatch(rf"boxcam: cannot write into {tmp_path / 'out'}: [^\n]+\n", done.stderr)
    assert files(tmp_path) == {place: b""}


def test_a_package_without_its_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli) -> None:
    monkeypatch.setattr("boxcam.commands.demo.DATA", tmp_path / "nothing")
    done = cli("demo", "-o", tmp_path / "out")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == f"boxcam: the demo's files are not in {tmp_path / 'nothing'}. Install boxcam again.\n"
    assert not (tmp_path / "out").exists()
