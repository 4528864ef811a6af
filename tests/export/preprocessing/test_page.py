"""The page about preprocessing: its text, its files, its figures."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from boxcam.commands.options import reading_options
from boxcam.export.preprocessing.keys import KEYS
from boxcam.export.preprocessing.page import PATH, markdown
from boxcam.export.preprocessing.presets import PRESETS
from boxcam.runtime.preprocess import INTERPOLATIONS, prepare
from tests.export.preprocessing.specs import CUSTOM, DYNAMIC, ROOT, of


def test_the_files_of_the_page_can_be_read(tmp_path: Path) -> None:
    file = tmp_path / "page.yaml"
    found = re.search(r"```yaml\n(.*?)```", markdown(), re.DOTALL)
    assert found is not None
    file.write_text(found[1])
    assert of(str(file)).std == (1, 1, 1)
    for line in re.findall(r"^\$ boxcam export.*", markdown(), re.MULTILINE):
        specs = re.findall(r"--preprocess (\S+)", line)
        assert specs
        size = re.search(r"--shape (\d+)x(\d+)", line)
        wanted = None if size is None else (int(size[1]), int(size[2]))
        specs = [str(file) if spec == "preprocess.yaml" else spec for spec in specs]
        of(*specs, **({"shape": DYNAMIC, "size": wanted} if " dynamic.onnx" in line else {}))


def test_the_page_is_up_to_date() -> None:
    written = (ROOT / PATH).read_text(encoding="utf-8")
    assert written == markdown(), f"{PATH} is out of date; run: python -m boxcam.export.preprocessing.page"
    assert all(f"`{key}`" in written for key in KEYS)
    assert all(f"| `{name}` |" in written for name in PRESETS)


def test_the_help_names_all_presets() -> None:
    command = reading_options()(lambda: None)
    shown = next(option.help for option in command.__click_params__ if option.name == "preprocess")
    assert all(name in shown for name in PRESETS)


@pytest.mark.parametrize("side", [256, 64, 512])
def test_the_pages_differences_to_pillow(side: int) -> None:
    from PIL import Image

    columns = ("antialias", "area", "bilinear", "bicubic", "nearest")
    assert {*columns[1:]} == {*INTERPOLATIONS}
    found = dict.fromkeys(columns, 0.0)
    for name in ("street", "cat", "houses", "coffee"):
        image = cv2.imread(str(ROOT / f"examples/signs/images/{name}.jpg"))
        height, width = image.shape[:2]
        size = (max(side, side * width // height), max(side, side * height // width))
        theirs = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR)).astype(float)
        for interpolation in columns:
            settings = [*CUSTOM, "mean=0", f"interpolation={interpolation}"]
            ours = prepare(image, of(*settings, shape=(1, size[1], size[0], 3)))[0][0, :, :, ::-1]
            found[interpolation] = max(found[interpolation], float(np.abs(ours - theirs).mean()))
    row = re.search(rf"^\| 300 or 320 to {side} \|(.*)\|$", markdown(), re.MULTILINE)
    assert row is not None
    written = [float(cell) for cell in row[1].split("|")]
    assert [found[name] for name in columns] == pytest.approx(written, abs=0.1)
