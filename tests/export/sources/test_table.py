"""What the declarations of sources say, and what is made of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from boxcam.export.source import source_of
from boxcam.export.sources import SOURCES
from boxcam.export.sources.table import PATH, markdown

ROOT = Path(__file__).parents[3]


def test_the_page_is_up_to_date() -> None:
    written = (ROOT / PATH).read_text(encoding="utf-8")
    assert written == markdown(), f"{PATH} is out of date; run: python -m boxcam.export.sources.table"


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_says_what_it_is(name: str) -> None:
    source = SOURCES[name]
    assert source.usage
    assert source.meaning
    assert f"| `{source.usage}` | {source.meaning} | `{name}` |" in markdown()


def test_declarations_import_no_framework_and_no_onnx() -> None:
    code = "import sys, boxcam.export.sources.table as t; t.markdown(); print(*{n.split('.')[0] for n in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"onnx", "onnx_ir", "onnxruntime", "onnxscript", "torch", "torchvision", "mmdet", "mmengine", "mmdeploy"}
    assert not heavy & set(done.stdout.split())


@pytest.mark.parametrize(
    ("arguments", "name", "extra"),
    [
        (("Model.ONNX",), None, "onnx"),
        (("torchvision:resnet50", "w.pth"), None, "export"),
        (("config.py", "w.pth"), None, "mmdet"),
        (("CONFIG",), "mmyolo", "mmyolo"),
        (("CONFIG",), None, None),
        (("CONFIG",), "none of that name", None),
    ],
)
def test_the_extra_is_known_before_anything_is_read(
    arguments: tuple[str, ...], name: str | None, extra: str | None
) -> None:
    found = source_of(arguments, name)
    assert (None if found is None else found.extra) == extra
