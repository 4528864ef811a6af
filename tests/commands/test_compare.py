"""`boxcam compare`: what it prints and writes, and how it refuses."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest
from click.testing import Result

import boxcam

Cli = Callable[..., Result]
FAST = ("--method", "hirescam", "--method", "saliency", "--layer", "neck", "--threads", "1")


def test_it_leaves_a_picture_and_its_figures(cli: Cli, signs_bundle: Path, cat: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "grid.png"
    done = cli("compare", signs_bundle, cat, "-o", out, "--box", "2", *FAST)
    assert (done.exit_code, done.stderr) == (0, "")
    head, first, second, last = done.stdout.splitlines()
    assert head.split() == ["method", "neck"]
    said = json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))
    hirescam, saliency = said["cells"]
    assert first.split(None, 1) == [
        "hirescam",
        f"{hirescam['share_inside_box']:.0%} inside, peak {hirescam['peak']:.3g}",
    ]
    assert second.split(None, 1) == ["saliency", "for the layer image only"]
    assert last == f"wrote {out} and {out.with_suffix('.json')}"
    alone = boxcam.explain(signs_bundle, cat, method="hirescam", layer="neck", rank=2)
    (fact,) = alone.facts()["detections"]
    assert (said["rank"], said["name"], said["box"]) == (2, fact["name"], fact["box"])
    assert hirescam["peak"] == pytest.approx(fact["peak"], rel=1e-4)
    x, y = hirescam["peak_at"]
    assert alone.map(0)[y, x] == pytest.approx(fact["peak"], rel=1e-4)
    assert hirescam["why_not"] is None
    assert (saliency["peak"], saliency["share_inside_box"], saliency["peak_at"]) == (None, None, None)
    assert saliency["why_not"].startswith("the method 'saliency' is one of pixels")
    assert cv2.imread(str(out)).shape[1] > 400
    assert sorted(os.listdir(out.parent)) == ["grid.json", "grid.png"]


def test_it_replaces_an_earlier_comparison(cli: Cli, signs_bundle: Path, cat: Path, tmp_path: Path) -> None:
    out = tmp_path / "grid.png"
    assert cli("compare", signs_bundle, cat, "-o", out, *FAST).exit_code == 0
    done = cli("compare", signs_bundle, cat, "-o", out, "--box", "2", "-q", *FAST)
    assert (done.exit_code, done.output) == (0, "")
    assert json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))["rank"] == 2


def test_what_it_would_replace_is_refused_before_any_work(cli: Cli, cat: Path, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(b"mine")
    (tmp_path / "facts.json").write_text('{"boxcam": "0.1.0", "detections": []}')  # of boxcam explain
    (tmp_path / "folder.png").mkdir()
    image = tmp_path / "image.png"
    image.write_bytes(cat.read_bytes())
    before = sorted(os.listdir(tmp_path))
    for name, words in {
        "photo.png": f"the comparison would replace {tmp_path / 'photo.png'}, which is no earlier comparison with its",
        "facts.png": f"the comparison would replace {tmp_path / 'facts.json'}, which is no earlier comparison",
        "folder.png": f"{tmp_path / 'folder.png'} is a folder. Pass the name of a picture with --output, such as",
        "grid.jpg": f"{tmp_path / 'grid.jpg'} does not end in .png, which the picture is. Pass such a name",
        "image.png": f"the comparison would replace the image {image}. Pass another name with --output.",
    }.items():
        done = cli("compare", "no.boxcam", image, "-o", tmp_path / name)
        assert done.exit_code == 1
        assert done.stderr.startswith(f"boxcam: {words}"), done.stderr
        assert done.stderr.count("\n") == 1
    assert sorted(os.listdir(tmp_path)) == before


def test_wrong_names_are_answered_by_those_that_are_close(
    cli: Cli, signs_bundle: Path, cat: Path, tmp_path: Path
) -> None:
    out = ("-o", tmp_path / "grid.png")
    wrong = cli("compare", signs_bundle, cat, "--method", "hirecam", *out)
    assert wrong.exit_code == 2
    assert "there is no method 'hirecam'. Did you mean 'hirescam'" in wrong.stderr
    for given, words in {
        ("--layer", "nek"): "has no layer 'nek'. Did you mean 'neck'?",
        ("--class", "stopp"): "the model has no class 'stopp'. Did you mean 'stop'?",
        ("--box", "99"): "there is no box 99 on ",
    }.items():
        done = cli("compare", signs_bundle, cat, *given, *out)
        assert done.exit_code == 1
        assert words in done.stderr
    assert os.listdir(tmp_path) == []
    assert cli("compare", signs_bundle, cat, "--box", "0", *out).exit_code == 2
    assert cli("compare", signs_bundle).exit_code == 2


def test_a_bundle_in_the_place_of_the_image_is_told(cli: Cli, signs_bundle: Path, cat: Path, tmp_path: Path) -> None:
    done = cli("compare", cat, signs_bundle, "-o", tmp_path / "grid.png")
    assert done.exit_code == 1
    assert str(signs_bundle) in done.stderr
    assert "first" in done.stderr
