"""Words from elsewhere: what they may do to a terminal, to the time, and to the exit code."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import Result

from boxcam.errors import BoxcamError, SourceError
from boxcam.explain.lettering import shorten, text_width, wrap
from boxcam.export.preprocessing.parse import parse
from tests.hostile.made import PICTURE, bundle, model

Cli = Callable[..., Result]
EVIL = "\x1b]0;owned\x07\x1b[2Jstop\r\nboxcam: wrote 1 of 1\x9b31m\u202e\u2066gnp.exe"
OBEYED = "\x1b\x07\x9b\r\u202e\u2066\x7f"


def relabelled(folder: Path, label: str) -> Path:
    return bundle(folder, lambda data: data.update(labels=[label] * 5, source={**data["source"], label: label}))


@pytest.mark.parametrize("command", ["explain", "inspect", "inspect --json", "a class that is not there"])
def test_labels_do_not_reach_the_terminal_as_they_are(command: str, tmp_path: Path, cli: Cli) -> None:
    path = relabelled(tmp_path, EVIL)
    shutil.copy(PICTURE, tmp_path / f"{EVIL[:24].replace('/', '')}.jpg")
    pictures = list(tmp_path.glob("*.jpg"))
    done = {
        "explain": lambda: cli("explain", path, *pictures, "-o", tmp_path / "out"),
        "inspect": lambda: cli("inspect", path),
        "inspect --json": lambda: cli("inspect", path, "--json"),
        "a class that is not there": lambda: cli("explain", path, *pictures, "--class", "stop", "-o", tmp_path / "out"),
    }[command]()
    said = done.stdout + done.stderr
    assert "owned" in said
    assert not set(said) & set(OBEYED), said
    if command == "inspect --json":
        assert json.loads(done.stdout)["labels"] == [EVIL] * 5  # escaped, and the same
    else:
        assert not any(line.startswith("boxcam: wrote") for line in said.splitlines())


def test_long_labels_take_no_time() -> None:
    began = time.monotonic()
    for text in ("a" * 20_000, "a " * 20_000, "i" * 200_000, ""):
        for width in (1, 90, 480):
            assert text_width(shorten(text, width, 9), 9) <= max(width, text_width("...", 9))
            assert len(wrap(text, width, 9)) <= 3
    assert time.monotonic() - began < 2


def test_what_is_cut_is_as_long_as_it_can_be() -> None:
    text = "the quick brown fox jumps over the lazy dog"
    cut = shorten(text, 100, 9)
    assert text.startswith(cut.removesuffix("..."))
    assert text_width(cut, 9) <= 100 < text_width(text[: len(cut) - 2] + "...", 9)
    assert shorten(text, 1000, 9) == text


HOOKS = {
    "exits": ("def decode(op, outputs):\n    sys.exit(0)\n", "fails with SystemExit: 0"),
    "exits when it is read": ("sys.exit(0)\n", "fails with SystemExit: 0"),
    "exits without a word": ("def decode(op, outputs):\n    raise SystemExit\n", "fails with SystemExit"),
    "recurses": ("def decode(op, outputs):\n    return decode(op, outputs)\n", "fails with RecursionError"),
    "asserts": ("def decode(op, outputs):\n    assert 0\n", "fails with AssertionError"),
    "returns itself": ("def decode(op, outputs):\n    return decode, decode\n", "does not return two values"),
}


@pytest.mark.parametrize("kind", HOOKS)
def test_a_hook_that_leaves_is_an_error(kind: str, tmp_path: Path, cli: Cli) -> None:
    code, expected = HOOKS[kind]
    (tmp_path / "own.py").write_text("import sys\n" + code)
    onnx.save(model(), str(tmp_path / "model.onnx"))
    done = cli(
        *("export", tmp_path / "model.onnx", "--preprocess", "imagenet", "-o", tmp_path / "b"),
        *("--decode", f"{tmp_path / 'own.py'}:decode"),
    )
    assert done.exit_code == 1
    assert expected in done.stderr
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [1, 2]\nb: *a\n",
        "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n",
        "[" * 5000,
        "{a: " * 3000,
        "- " * 3000,
        "? " * 3000,
        "mean: " + "9" * 5000,
        "mean: !!python/object/apply:os.system ['true']",
        "size: 99999999999x99999999999\npreset: yolo",
        "multiple: 40000\npreset: yolo\nresize: fit\nsize: 640x640",
        "color: {}\npreset: yolo",
        "\0",
    ],
)
def test_settings_that_are_deep_or_strange(text: str, tmp_path: Path) -> None:
    for name in ("a.yaml", "a.json"):
        (tmp_path / name).write_text(text)
        with pytest.raises(SourceError) as caught:
            parse([str(tmp_path / name)], (1, 3, None, None), None, None)
        assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("engine", ["onnx", "both"])
def test_a_full_disk_is_an_error(engine: str, tmp_path: Path) -> None:
    made = model()
    weights = np.random.default_rng(0).standard_normal((60_000, 3, 4, 4)).astype(np.float32) / 100
    made.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(weights, "a"))
    wide = np.random.default_rng(0).standard_normal((4, 60_000)).astype(np.float32) / 100
    made.graph.initializer[1].CopyFrom(onnx.numpy_helper.from_array(wide, "w"))
    onnx.save(made, str(tmp_path / "model.onnx"))

    def small() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))

    command = ["export", str(tmp_path / "model.onnx"), "--preprocess", "imagenet", "--engine", engine]
    done = subprocess.run(
        [sys.executable, "-m", "boxcam.cli", *command, "-o", str(tmp_path / "b")],
        capture_output=True,
        text=True,
        preexec_fn=small,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.onnx"]


def test_a_plug_in_that_leaves_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from boxcam.plugins import Plugin

    class Point:
        name, value = "evil", "evil.module"

        def load(self) -> Any:
            raise SystemExit(0)

    with pytest.raises(BoxcamError, match="cannot be loaded: SystemExit"):
        Plugin("method", "evil 1.0", Point()).load()  # type: ignore[arg-type]
