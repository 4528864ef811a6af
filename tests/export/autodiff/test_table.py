"""The page about operators says what the registered rules say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from boxcam.export.autodiff.rule import RULES, ZERO
from boxcam.export.autodiff.table import PATH, markdown

_ROOT = Path(__file__).parents[3]


def test_the_page_is_up_to_date() -> None:
    written = (_ROOT / PATH).read_text(encoding="utf-8")
    assert written == markdown(), f"{PATH} is out of date; run: python -m boxcam.export.autodiff.table"


def test_every_operator_has_its_row() -> None:
    rows = [line.split(" | ") for line in markdown().splitlines() if line.startswith("| ")][1:]
    assert [row[0] for row in rows] == [f"| {name}" for name in sorted({*RULES, *ZERO})]
    assert ["| Relu", "rule", " |"] in rows
    assert ["| Floor", "zero", "constant between its steps |"] in rows


def test_a_command_writes_the_page(tmp_path: Path) -> None:
    page = tmp_path / "operators.md"
    subprocess.run([sys.executable, "-m", "boxcam.export.autodiff.table", str(page)], check=True, cwd=_ROOT)
    assert page.read_text(encoding="utf-8") == markdown()
