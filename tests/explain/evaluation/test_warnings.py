"""What explaining warns of is told while methods are compared, once of all images; empty maps are counted instead."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

import boxcam
from boxcam.commands.demo import DATA
from boxcam.explain.advice import MEANING
from boxcam.explain.evaluation import evaluator

Cli = Callable[..., Result]


def test_each_warning_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli) -> None:
    real = evaluator.explain

    def explain(*given: Any, **more: Any) -> boxcam.Explanation:
        for said in (f"{MEANING} that there is nothing.", 'its weights mean little. Use method="hirescam".'):
            warnings.warn(said, boxcam.BoxcamWarning, stacklevel=2)
        return real(*given, **more)

    monkeypatch.setattr(evaluator, "explain", explain)
    images = [DATA / "images" / name for name in ("cat.jpg", "street.jpg")]
    done = cli(
        *("evaluate", DATA / "signs", *images, "-o", tmp_path / "o", "--threads", "1", "--top", "1"),
        *("--metric", "energy", "--method", "hirescam", "--method", "layercam"),
    )
    assert done.exit_code == 0
    assert done.stderr == "boxcam: warning: its weights mean little. Use --method hirescam.\n"
