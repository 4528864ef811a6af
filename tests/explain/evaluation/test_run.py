"""A run of an evaluation: what is given, what is told meanwhile, and what is left when an image or the run fails."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result

import boxcam
from boxcam.commands.demo import DATA
from boxcam.errors import ArgumentError, EngineError, InputError, RunError
from boxcam.explain.evaluation.evaluator import Evaluator
from boxcam.explain.evaluation.request import Request
from boxcam.explain.evaluation.run import Run
from boxcam.runtime.model import Model

Cli = Callable[..., Result]
BUNDLE = DATA / "signs"


@pytest.fixture(scope="module")
def model() -> Model:
    return boxcam.load(BUNDLE, threads=1).runtime


@pytest.fixture
def cat(signs: Path) -> Path:
    return signs / "images" / "cat.jpg"


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (np.zeros((4, 4, 3), np.uint8), "ndarray with ndarray"),
        ([np.zeros((4, 4, 3), np.uint8)], "list with ndarray"),
        (b"a.jpg", "bytes"),
        (None, "NoneType"),
        (5, "int"),
    ],
    ids=lambda given: type(given).__name__,
)
def test_what_is_no_path_is_an_argument_that_is_wrong(images: Any, words: str, model: Model) -> None:
    with pytest.raises(ArgumentError, match=rf"^images= is {words}, and not the path of a file .* Pass those"):
        boxcam.evaluate(model, images)


@pytest.mark.parametrize("images", [[], (), iter(())])
def test_no_image_at_all_is_said(images: Any, model: Model) -> None:
    with pytest.raises(InputError, match=r"^images= names no image\. Pass a file"):
        boxcam.evaluate(model, images)


def test_images_may_come_one_by_one(model: Model, cat: Path) -> None:
    request = Request(method="hirescam", metrics="energy", top=1)
    assert Run(model, (path for path in [cat, str(cat)]), None, request).files == [cat]


def test_progress_goes_from_nothing_to_all(model: Model, cat: Path) -> None:
    said: list[tuple[int, int]] = []
    request = Request(metrics="energy", top=2)
    evaluator = Evaluator(model, request.rows, request.protocol(None))
    evaluator.add(cat, lambda *of: said.append(of))
    assert said == [(done, 4) for done in range(5)]


def test_an_image_that_fails_takes_no_time(model: Model, cat: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request = Request(metrics="energy", top=1)
    evaluator = Evaluator(model, request.rows, request.protocol(None))
    evaluator.add(cat)
    before = list(evaluator.result.seconds)
    assert min(before) > 0

    def fail(*given: Any) -> None:
        raise RunError("it fails")

    monkeypatch.setattr(evaluator, "_compared", fail)
    with pytest.raises(RunError, match="it fails"):
        evaluator.add(cat)
    assert evaluator.result.seconds == before


def test_maps_that_were_empty_before_have_lost_nothing(
    model: Model, cat: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = Request(method="hirescam", metrics="energy", top=2, sanity=1)
    nothing = ((float("nan"), float("nan")),)
    for lost in (2, 0):
        evaluator = Evaluator(model, request.rows, request.protocol(None))
        monkeypatch.setattr(evaluator._sanity.__class__, "measure", lambda *given: [(nothing,), (nothing,)])
        if not lost:
            monkeypatch.setattr("boxcam.explain.explanation.Explanation.has_evidence", lambda *given: False)
        evaluator.add(cat)
        assert evaluator.result.counts.get("maps without evidence once weights are shuffled", 0) == lost


@pytest.mark.parametrize("error", [EngineError("no engine"), KeyboardInterrupt()], ids=["engine", "interrupted"])
def test_what_failed_is_said_whatever_ends_the_run(
    error: BaseException, cat: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(*given: Any) -> None:
        raise error

    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    real = Evaluator.add
    monkeypatch.setattr(Evaluator, "add", lambda self, file, said: end() if file == cat else real(self, file, said))
    images = [tmp_path / "none.png", tmp_path / "broken.png", cat]
    done = cli("evaluate", BUNDLE, *images, "-o", tmp_path / "out", "--metric", "energy", "--top", "1")
    assert done.exit_code != 0
    assert "none.png does not exist" in done.stderr
    assert "broken.png" in done.stderr


def test_what_is_missing_is_said_where_the_folder_cannot_be_made(cat: Path, tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "file").write_text("")
    done = cli("evaluate", BUNDLE, tmp_path / "none.png", cat, "-o", tmp_path / "file" / "out", "--metric", "energy")
    assert done.exit_code == 1
    assert "none.png does not exist" in done.stderr
