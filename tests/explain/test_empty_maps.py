"""An empty map says what it means, and what shows more: in Python, in the command line, on the sheet, in the facts."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import Result

import boxcam
from boxcam.commands.summary import summary
from boxcam.explain import sheet as pages
from boxcam.explain.advice import on_empty_maps
from tests.explain.cancelling import IMAGE, Cancelling
from tests.explain.made import AGAINST, EVEN, explanation

Cli = Callable[..., Result]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("empty")
    path = Cancelling().build(folder / "model.onnx")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", boxcam.BoxcamWarning)
        boxcam.export(
            path, output=folder / "b", layers=["layer"], engine="onnx", class_names=["nothing", "thing"],
            preprocess=["resize=stretch", "scale=0-1", "color=RGB"],
        )  # fmt: skip
    return folder / "b"


@pytest.fixture
def notes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Everything that is written above the pictures of sheets, in order."""
    texts: list[str] = []
    wrap = pages.wrap
    monkeypatch.setattr(pages, "wrap", lambda text, *rest: (texts.append(text), wrap(text, *rest))[1])
    return texts


MEANING = (
    r"^an empty map means that gradcam found nothing at layer 'layer' that speaks for the class, not that there is"
    r" nothing: .*\. Use method=\"hirescam\", which takes each cell's own gradient\.$"
)


def test_gradcam_can_be_empty_where_hirescam_is_not(bundle: Path) -> None:
    model = boxcam.load(bundle, threads=1)
    with pytest.warns(boxcam.BoxcamWarning, match=MEANING) as caught:
        found = model.explain(IMAGE, classes="thing")
    assert [Path(one.filename).name for one in caught] == [Path(__file__).name]  # it points at who called
    assert found.facts()["detections"][0]["positive_evidence"] is False
    assert found.facts()["detections"][0]["depends_on_layer"] is True
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        better = model.explain(IMAGE, classes="thing", method="hirescam")
    assert better.facts()["detections"][0]["positive_evidence"] is True


def test_the_command_line_says_it_in_its_words(bundle: Path, tmp_path: Path, cli: Cli, signs: Path) -> None:
    given = ["explain", bundle, signs / "images" / "cat.jpg", signs / "images" / "street.jpg", "-o", tmp_path]
    done = cli(*given, "--class", "thing")
    assert done.exit_code == 0
    assert "cat.jpg: 1 class, 1 with an empty map (gradcam found nothing at layer for it; try --method hirescam)" in (
        done.stdout
    )
    (line,) = done.stderr.splitlines()  # once, of both images
    assert line.startswith("boxcam: warning: an empty map means that gradcam found nothing at layer 'layer'")
    assert "Use --method hirescam, which" in line
    again = cli(*given, "--class", "thing", "--method", "hirescam")
    assert (again.exit_code, again.stderr) == (0, "")
    assert "empty" not in again.stdout


def test_a_method_that_looks_at_cells_advises_another_layer() -> None:
    found = replace(explanation(EVEN, AGAINST), method="hirescam")
    assert on_empty_maps(found).endswith(
        "speaks for the box, not that there is nothing. Choose another layer with layer=."
    )
    assert summary(found).startswith("2 boxes, 1 with an empty map (hirescam found nothing at neck for it), 4 others")
    assert on_empty_maps(explanation(EVEN)) == ""
    assert on_empty_maps(explanation()) == ""


def test_a_map_of_what_speaks_against_is_not_empty(notes: list[str]) -> None:
    """Where that is drawn; where it is not, there is nothing to see."""
    found = explanation(EVEN, AGAINST, signed=True)
    assert on_empty_maps(found) == ""
    assert summary(found).startswith("2 boxes, 4 others")
    found.sheet()
    assert not any("empty" in note for note in notes)
    zero = explanation([[0.0] * 4] * 2, signed=True, at=(0, 0, 4, 2))
    assert "found nothing at layer 'neck' that speaks for or against the candidate, not" in on_empty_maps(zero)
    assert summary(zero).startswith("1 candidate, 1 with an empty map")
    zero.sheet()
    said = "An empty map: gradcam found nothing at neck that speaks for or against the candidate."
    assert any(note.startswith(said) for note in notes)


def test_a_map_of_a_class_is_said_to_be_of_a_class() -> None:
    said = on_empty_maps(explanation(AGAINST, classifier=True))
    assert "that speaks for the class, not that" in said
    hidden = replace(explanation(AGAINST, classifier=True), method="d-rise", layer="image")
    assert ": the class was not found again behind any of the masks" in on_empty_maps(hidden)


def test_a_box_that_does_not_depend_on_the_layer_is_something_else() -> None:
    found = explanation(EVEN, AGAINST)
    assert on_empty_maps(found) != ""
    assert on_empty_maps(replace(found, parts=(found.parts[0], ()))) == ""


def test_cells_of_padding_are_no_evidence() -> None:
    """Positive in the last column only, which shows padding."""
    found = explanation([[0.0, 0.0, 0.0, 1.0]] * 2)
    ((part,),) = found.parts
    padded = replace(found, parts=((replace(part, grid=replace(part.grid, columns=(0, 3))),),))
    assert (found.may_have_evidence(0), found.has_evidence(0)) == (True, True)
    assert (padded.may_have_evidence(0), padded.has_evidence(0)) == (False, False)
    moved = replace(part, cells=replace(part.cells, corner=(-1, -1)))
    assert part.visible.shape == (2, 4)
    assert moved.visible.shape == (1, 3)


@pytest.mark.parametrize(("method", "more"), [("gradcam", " hirescam may show more."), ("hirescam", "")])
def test_the_sheet_says_it(method: str, more: str, notes: list[str]) -> None:
    replace(explanation(EVEN, AGAINST), method=method).sheet()
    assert notes[2] == f"An empty map: {method} found nothing at neck that speaks for the box.{more}"
    explanation(EVEN).sheet()
    assert not any("mpty" in note for note in notes[3:])
