"""`boxcam evaluate`, on the demo detector that lies in the package."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import Result

from boxcam.commands.demo import DATA
from boxcam.explain.metrics import METRICS
from tests.explain.evaluation.coco import annotations_of

Cli = Callable[..., Result]
BUNDLE = DATA / "signs"
MAPS = ("--metric", "pointing", "--metric", "energy")


@pytest.fixture
def truth(signs: Path, tmp_path: Path) -> Path:
    return saved(tmp_path, annotations_of(signs))


def saved(folder: Path, data: dict[str, Any]) -> Path:
    path = folder / "truth.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


def facts(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    return found


def mean(found: dict[str, Any], method: str, metric: str) -> float:
    (figure,) = (one for one in found["figures"] if (one["method"], one["metric"]) == (method, metric))
    return float(figure["mean"])


def test_methods_are_compared_with_annotations(signs: Path, truth: Path, tmp_path: Path, cli: Cli) -> None:
    out = tmp_path / "out"
    maps = [one for name, metric in METRICS.loaded().items() if not metric.passes for one in ("--metric", name)]
    done = cli("evaluate", BUNDLE, signs / "images", "--annotations", truth, "-o", out, "--threads", "1", *maps)
    assert (done.exit_code, done.stderr) == (0, "")
    found = facts(out)
    counts = found["counts"]
    assert (counts["images"], counts["objects"], counts["boxes that match an object"]) == (6, 30, 30)
    assert counts["boxes"] == 30 + counts["boxes that match none"]
    assert mean(found, "hirescam", "pointing") == 1
    assert mean(found, "hirescam", "energy") > mean(found, "gradcam", "energy") > mean(found, "gradcam", "energy-mask")
    assert mean(found, "hirescam", "odi") < 0.05 < mean(found, "gradcam", "odi")
    assert len([one for one in found["figures"] if one["metric"].startswith("mask-iou@")]) == 2 * 9
    assert all(one["boxes"] == 30 and one["low"] <= one["mean"] <= one["high"] for one in found["figures"])
    assert sorted(path.name for path in out.iterdir()) == [f"evaluation.{kind}" for kind in ("csv", "json", "md")]
    rows = list(csv.DictReader((out / "evaluation.csv").read_text().splitlines()))
    assert [float(row["mean"]) for row in rows] == pytest.approx([one["mean"] for one in found["figures"]], abs=1e-5)
    table = [line for line in done.stdout.splitlines() if line.startswith("pointing ↑")]
    assert table[0].split()[-1] == "30"
    assert "pointing ↑ | 0." in (out / "evaluation.md").read_text(encoding="utf-8")
    assert f"wrote evaluation.json, evaluation.csv, evaluation.md to {out}" in done.stdout


def test_without_annotations_the_models_own_boxes_are_taken_and_it_says_so(
    signs: Path, tmp_path: Path, cli: Cli
) -> None:
    image = signs / "images" / "cat.jpg"
    given = (
        "--top",
        "1",
        "--steps",
        "3",
        "--threads",
        "1",
        "--method",
        "hirescam",
        "--fill",
        "blur",
        "--fill",
        "black",
    )
    runs = []
    for name, seed in (("a", "0"), ("b", "0"), ("c", "1")):
        done = cli("evaluate", BUNDLE, image, "-o", tmp_path / name, *given, "--seed", seed)
        assert (done.exit_code, done.stderr) == (0, "")
        runs.append(facts(tmp_path / name))
    assert "Without annotations, each of the model's own boxes stands for the object" in done.stdout
    measured = {one["metric"].partition("@")[0] for one in runs[0]["figures"]}
    assert measured == {name for name, metric in METRICS.loaded().items() if metric.needs == "box"}
    assert {"oa@blur", "oa@black"} <= {one["metric"] for one in runs[0]["figures"]}
    # the image as it is, two fills, two steps each way between them, and ten steps of ODAM's each way
    assert runs[0]["forward_passes"] == 1 + 2 + 2 * 2 * 2 + 20
    assert runs[0]["boxes"] == runs[1]["boxes"] != runs[2]["boxes"]  # by the seed
    (box,) = runs[0]["boxes"]
    figures = box["rows"][0]
    assert figures["oa@blur"] == pytest.approx(figures["insertion@blur"] - figures["deletion@blur"], abs=2e-6)
    assert figures["vps-insertion"] == figures["insertion@black"]


def test_boxes_and_objects_that_do_not_match_are_counted(signs: Path, tmp_path: Path, cli: Cli) -> None:
    data = annotations_of(signs)
    cat = [one for one in data["annotations"] if one["image_id"] == 0]
    cat[0]["bbox"] = [0, 0, 9, 9]  # an object that no box shows, and so a box that shows none
    cat[1]["iscrowd"] = 1
    data["categories"].append({"id": 99, "name": "zebra"})
    data["annotations"].append({"id": 99, "image_id": 0, "category_id": 99, "bbox": [0, 0, 5, 5]})
    truth = saved(tmp_path, data)
    out, image = tmp_path / "out", signs / "images" / "cat.jpg"
    done = cli("evaluate", BUNDLE, image, "--annotations", truth, "-o", out, *MAPS, "--score", "0.5")
    assert (done.exit_code, done.stderr) == (0, "")
    assert facts(out)["counts"] == {
        "images": 1,
        "boxes": 5,
        "boxes that match an object": 3,
        "boxes that match none": 1,
        "boxes in crowds": 1,
        "objects": 5,
        "objects of classes that the model lacks": 1,
        "objects that none of these boxes shows": 1,
        "annotated images that were not given": 5,
    }
    assert "Classes of the annotations that the model lacks: zebra." in done.stdout
    assert [one["boxes"] for one in facts(out)["figures"]] == [3, 3, 3, 3]


def test_images_without_annotations_and_of_another_size(signs: Path, tmp_path: Path, truth: Path, cli: Cli) -> None:
    cv2.imwrite(str(tmp_path / "other.jpg"), np.zeros((40, 40, 3), np.uint8))
    cv2.imwrite(str(tmp_path / "cat.jpg"), np.zeros((40, 40, 3), np.uint8))
    given = ("--annotations", truth, "-o", tmp_path / "out", *MAPS)
    done = cli("evaluate", BUNDLE, tmp_path / "other.jpg", signs / "images" / "street.jpg", *given)
    assert done.exit_code == 0
    assert facts(tmp_path / "out")["counts"]["images without annotations"] == 1
    none = cli("evaluate", BUNDLE, tmp_path / "other.jpg", *given)
    assert (none.exit_code, none.stdout) == (1, "")
    assert "does not have the images that were given. Pass those that were annotated." in none.stderr
    other = cli("evaluate", BUNDLE, tmp_path / "cat.jpg", *given)
    assert other.exit_code == 1
    assert "has 40x40 pixels" in other.stderr


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--metric", "odi"), "the metric 'odi' needs to know the objects in the image. Pass --annotations"),
        (("--layer", "nek"), "has no layer 'nek'. Did you mean 'neck'?"),
        (("--method", "saliency", "--layer", "neck"), "saliency"),
    ],
)
def test_what_does_not_fit_is_refused_before_any_image(
    given: tuple[str, ...], said: str, tmp_path: Path, cli: Cli
) -> None:
    done = cli("evaluate", BUNDLE, tmp_path / "none.jpg", "-o", tmp_path / "out", *given)
    assert (done.exit_code, done.stdout) == (1, "")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_metric_of_masks_without_masks(signs: Path, tmp_path: Path, cli: Cli) -> None:
    data = annotations_of(signs)
    for one in data["annotations"]:
        del one["segmentation"]
    given = ("--annotations", saved(tmp_path, data), "-o", tmp_path / "out", "--metric", "energy-mask")
    done = cli("evaluate", BUNDLE, signs / "images", *given)
    assert done.exit_code == 1
    assert "needs the objects' pixels, and" in done.stderr


def test_files_of_the_users_are_not_replaced(signs: Path, tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "evaluation.csv").write_text("mine")
    given = ("evaluate", BUNDLE, signs / "images" / "cat.jpg", "-o", tmp_path, "--top", "1", *MAPS)
    done = cli(*given)
    assert done.exit_code == 1
    assert "evaluation.csv is there, and boxcam did not write it. Choose another folder." in done.stderr
    assert (tmp_path / "evaluation.csv").read_text() == "mine"
    (tmp_path / "evaluation.csv").unlink()
    assert [cli(*given).exit_code for _ in range(2)] == [0, 0]  # an earlier one of its own is


def test_help_tells_of_every_metric(cli: Cli) -> None:
    said = cli("evaluate", "--help").stdout
    assert all(f"\n    {name} " in said for name in METRICS)
