"""docs/models.md lists what the registry of families says, and nothing that has not passed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import tests.matrix.families  # noqa: F401  (registers them)
from tests.matrix import results, table
from tests.matrix.registry import FAMILIES, REFUSED, Family, Forms, Subject
from tests.matrix.results import Result

_ROOT = Path(__file__).parents[2]
_PAGE = (_ROOT / table.PATH).read_text(encoding="utf-8")
_PASSED = results.read(_ROOT / table.RESULTS)


def _listed(page: str) -> dict[str, set[tuple[str, str]]]:
    """Family → layers with targets, as the page's tables have them."""
    found: dict[str, set[tuple[str, str]]] = {}
    framework, family = "", ""
    for line in page.splitlines():
        framework = line.removeprefix("## ") if line.startswith("## ") else framework
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and cells[0] != "family" and not cells[0].startswith("---"):
            family = f"{framework}: {cells[0]}" if cells[0] else family
            found.setdefault(family, set()).add((cells[1], cells[2]))
    return found


def _rows(family: Family) -> set[tuple[str, str]]:
    return {(cell.key.layer, table.explained(cell.key.target, cell.key.rules)) for cell in family.cells()}


def test_the_page_lists_the_registered_families_and_no_other() -> None:
    assert _listed(_PAGE) == {name: _rows(family) for name, family in table.LISTED.items()}
    assert set(re.findall(r"^- \*\*([^*]+)\*\*: .*\.$", _PAGE.partition("\n## ")[2], re.MULTILINE)) == {
        table.title(name) for name in REFUSED
    }


def test_the_page_is_made_of_the_figures_that_are_kept() -> None:
    assert table.markdown(_PASSED) == _PAGE, f"{table.PATH} is out of date; run: make models"


def test_every_figure_is_within_its_limit_and_of_the_form_that_is_tested() -> None:
    for result in _PASSED:
        assert result.count >= (20 if result.family in FAMILIES else 8)
        assert result.error <= result.limit
        if result.kind == "gradients":
            if result.limit != 1e-4:
                assert result.noise is not None
                assert result.level is not None
                assert result.noise > 1e-4 or result.level <= 1e-4
                assert result.flipped <= result.count / 4
                assert result.limit == 1e-3
            key = (result.layer, result.target, result.engine, result.rules)
            assert (key, result.form) in table.LISTED[result.family].cells()


def _make(folder: Path) -> Subject:
    raise AssertionError("not to be made here")


_FAMILY = Family({"neck": Forms("windows", None)}, _make, note="a note.")
_RESULTS = [
    Result("x: Tiny", "detections", count=40, error=0.125, limit=0.5, scores=1e-5),
    Result("x: Tiny", "gradients", "neck", "logit", "onnx", "windows", "", 24, 2, 3.4e-4, 1e-3, 2.2e-4, 1e-6),
]


def test_a_family_is_a_row_for_each_layer() -> None:
    page = table.markdown(_RESULTS, {"x: Tiny": _FAMILY}, {})
    assert "| Tiny | neck | logit | windows | 3e-04 (noise 2e-04, level 1e-06) | – | 24 | 40, 0.12 px |\n" in page
    assert "1 of\n  1 figures needed it." in page
    assert "\n## x\n" in page
    assert "\nTiny: a note.\n" in page


@pytest.mark.parametrize("lost", [0, 1])
def test_a_family_without_a_passing_case_cannot_be_listed(lost: int) -> None:
    with pytest.raises(table.MissingResultError, match="x: Tiny"):
        table.markdown([result for k, result in enumerate(_RESULTS) if k != lost], {"x: Tiny": _FAMILY}, {})
