"""A run can be ended: by Ctrl-C, by SIGTERM, by limits of time and memory; and what SIGKILL leaves is cleaned up."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

import boxcam
from boxcam.bundle import write
from boxcam.errors import ArgumentError, LimitError
from boxcam.leftovers import MARK, OLD, locked, name_aside, sweep, temporary_folder
from tests.hostile.made import BUNDLE, ENDLESS, PICTURE, forward, model


def endless(model: onnx.ModelProto) -> None:
    """Let a graph's scores wait for a loop without an end."""
    graph = model.graph
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["d"])],
        "again",
        [helper.make_tensor_value_info("i", 7, []), helper.make_tensor_value_info("c", 9, [])],
        [helper.make_tensor_value_info("d", 9, [])],
    )
    name = graph.output[0].name
    for node in graph.node:
        node.output[:] = ["before" if output == name else output for output in node.output]
    graph.initializer.append(onnx.numpy_helper.from_array(np.array(True), "yes"))
    graph.node.append(helper.make_node("Loop", ["", "yes"], [], body=body))
    loop = graph.node[-1]
    body.input.append(helper.make_tensor_value_info("x", 1, None))
    body.output.append(helper.make_tensor_value_info("y", 1, None))
    body.node.append(helper.make_node("Identity", ["x"], ["y"]))
    loop.attribute[0].g.CopyFrom(body)
    loop.input.append("before")
    loop.output.append(name)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return forward(tmp_path, endless)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    onnx.save(model(ENDLESS), str(tmp_path / "endless.onnx"))
    return tmp_path / "endless.onnx"


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A place for temporary files that is this test's own."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path / "tmp"


def ours(folder: Path) -> list[Path]:
    """What boxcam made there; ONNX Runtime and PyTorch have temporary files of their own."""
    return [path for path in folder.iterdir() if "boxcam" in path.name]


def begin(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "boxcam.cli", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_work(process: subprocess.Popen[str]) -> None:
    """Wait until a process computes: its own time goes on and on."""
    busy, since = 0.0, time.monotonic()
    while busy < 4 and time.monotonic() - since < 90:
        assert process.poll() is None, process.communicate()
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        busy = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        time.sleep(0.1)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("command", ["explain", "export", "inspect"])
def test_a_signal_ends_native_code(
    command: str, number: signal.Signals, code: int, bundle: Path, file: Path, tmp_path: Path, temporary: Path
) -> None:
    given = {
        "explain": (bundle, PICTURE, "-o", tmp_path / "out"),
        "export": (file, "--preprocess", "imagenet", "-o", tmp_path / "a.boxcam"),
        "inspect": (file, "--preprocess", "imagenet"),
    }[command]
    before = sorted(tmp_path.iterdir())
    process = begin(command, *given)
    try:
        wait_for_work(process)
        began = time.monotonic()
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()  # which computes for ever otherwise
    assert time.monotonic() - began < 5
    assert process.returncode == code
    assert (out, err) == ("", f"boxcam: {'interrupted' if code == 130 else 'terminated'}\n")
    assert ours(temporary) == []
    made = [path for path in sorted(tmp_path.iterdir()) if path not in before]
    assert made in ([], [tmp_path / "out"])
    assert not made or not list(made[0].iterdir())


@pytest.mark.parametrize("command", ["explain", "export"])
def test_time_is_limited(command: str, bundle: Path, file: Path, tmp_path: Path) -> None:
    given = {
        "explain": (bundle, PICTURE, "-o", tmp_path / "out"),
        "export": (file, "--preprocess", "imagenet", "-o", tmp_path / "a.boxcam"),
    }[command]
    process = begin(command, *given, "--timeout", "3")
    try:
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 1
    assert err == "boxcam: it took longer than the 3 s that --timeout 3 allows.\n"


def test_time_is_limited_in_python(bundle: Path) -> None:
    running = boxcam.load(bundle)
    began = time.monotonic()
    with (
        pytest.raises(LimitError, match=r"it took longer than the 0\.5 s that timeout=0\.5 allows"),
        boxcam.limits(timeout=0.5),
    ):
        running.detect(PICTURE)
    assert time.monotonic() - began < 3
    assert len(boxcam.load(BUNDLE).detect(PICTURE)) > 0  # nothing of it is left


def test_time_is_limited_in_another_thread(bundle: Path) -> None:
    found: list[BaseException] = []

    def run() -> None:
        try:
            with boxcam.limits(timeout=0.5):
                boxcam.load(bundle).detect(PICTURE)
        except BaseException as error:  # noqa: BLE001
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(20)
    assert [type(error) for error in found] == [LimitError]


def test_python_code_is_interrupted_too() -> None:
    def swallow() -> None:
        with contextlib.suppress(Exception):  # what catches everything does not catch this
            while True:
                time.sleep(0.01)

    began = time.monotonic()
    with pytest.raises(LimitError), boxcam.limits(timeout=0.3):
        swallow()
    assert time.monotonic() - began < 2
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL


def test_what_nothing_can_interrupt_is_told_at_the_end() -> None:
    found: list[BaseException] = []

    def run() -> None:
        try:
            with boxcam.limits(timeout=0.1):
                time.sleep(0.3)
        except BaseException as error:  # noqa: BLE001
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(20)
    assert [type(error) for error in found] == [LimitError]
    assert "timeout=0.1 allows" in str(found[0])


@pytest.mark.parametrize(
    "given", [{"timeout": 1e10}, {"timeout": 1e300}, {"max_pixels": 10**40}, {"timeout": np.float64(1e8)}]
)
def test_more_than_any_run_takes_is_no_limit(given: dict[str, Any]) -> None:
    with boxcam.limits(**given):
        assert len(boxcam.load(BUNDLE).detect(PICTURE)) > 0
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_the_lowest_limit_of_memory_holds_until_its_block_ends_whichever_ends_first() -> None:
    import resource

    def now() -> int:
        return resource.getrlimit(resource.RLIMIT_DATA)[0]

    before, gib = now(), 1 << 30
    inside, ended, seen = threading.Event(), threading.Event(), []

    def first() -> None:
        with boxcam.limits(max_memory="64G"):
            seen.append(now())
            inside.wait(20)
        ended.set()

    def second() -> None:
        with boxcam.limits(max_memory="96G"):
            seen.append(now())
            inside.set()
            ended.wait(20)
            seen.append(now())

    one, two = threading.Thread(target=first), threading.Thread(target=second)
    one.start()
    while not seen:
        time.sleep(0.01)
    two.start()
    one.join(30)
    two.join(30)
    assert seen == [64 * gib, 64 * gib, 96 * gib]
    assert now() == before
    with boxcam.limits(max_memory="9999999999T"):
        assert now() > 1 << 60
        with boxcam.limits(max_memory="64G"):
            assert now() == 64 * gib
            with boxcam.limits(max_memory="96G"):
                assert now() == 64 * gib
    assert now() == before


def test_the_narrower_time_holds() -> None:
    with pytest.raises(LimitError, match=r"timeout=0\.3 "), boxcam.limits(timeout=0.3), boxcam.limits(timeout=100):
        time.sleep(20)
    with boxcam.limits(timeout=100):
        with pytest.raises(LimitError, match=r"timeout=0\.2 "), boxcam.limits(timeout=0.2):
            time.sleep(20)
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 50


def test_a_run_within_its_limits_is_the_same() -> None:
    plain = boxcam.load(BUNDLE).detect(PICTURE)
    with boxcam.limits(timeout=60):
        limited = boxcam.load(BUNDLE).detect(PICTURE)
    assert (plain.scores == limited.scores).all()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"timeout": 0}, "timeout=0 is not a number above 0"),
        ({"timeout": float("nan")}, "timeout=nan is not"),
        ({"max_pixels": -1}, "max_pixels=-1 is not"),
        ({"max_memory": "much"}, "max_memory='much' is not a size. Pass one such as 4G"),
        ({"timeout": "5"}, "timeout='5' is not a number above 0"),
        ({"timeout": True}, "timeout=True is not a number above 0"),
        ({"timeout": [5]}, r"timeout=\[5\] is not a number above 0"),
        ({"timeout": float("inf")}, "timeout=inf is not a number above 0"),
        ({"max_pixels": "5"}, "max_pixels='5' is not a number above 0"),
        ({"max_pixels": False}, "max_pixels=False is not a number above 0"),
        ({"max_memory": "9" * 400}, "max_memory='9999.*' is not a size"),
        ({"max_memory": True}, "max_memory=True is not a size"),
        ({"max_memory": "1K"}, "is less than the .* MiB that are in use already"),
    ],
)
def test_impossible_limits(given: dict[str, object], expected: str) -> None:
    with pytest.raises(ArgumentError, match=expected), boxcam.limits(**given):  # type: ignore[arg-type]
        raise AssertionError("it was entered")


@pytest.mark.parametrize("where", ["numpy", "ONNX Runtime"])
def test_memory_is_limited(where: str, tmp_path: Path) -> None:
    code = f"""
import boxcam, numpy as np, sys
from boxcam.runtime.sessions import Device, Session
from boxcam.runtime.tensors import Tensors
from pathlib import Path
try:
    with boxcam.limits(max_memory="1G"):
        if {where!r} == "numpy":
            np.ones(1 << 32, np.uint8)
        else:
            Session(Path(sys.argv[1]), Device()).run(Tensors({{"n": np.array([1 << 30], np.int64)}}), ["y"])
except boxcam.BoxcamError as error:
    print(type(error).__name__, error)
np.ones(1 << 31, np.uint8)
"""
    text = '<ir_version: 8, opset_import: ["": 17]> g (int64[1] n) => (float[K] y) { y = ConstantOfShape (n) }'
    onnx.save(onnx.parser.parse_model(text), str(tmp_path / "large.onnx"))
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "large.onnx")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    if where == "numpy":
        assert done.stdout.startswith(
            "LimitError it needs more memory than the 1 GiB that max_memory=1073741824 allows."
        )
    else:
        assert done.stdout.startswith("RunError")
        assert "memory" in done.stdout


# What a killed run leaves.


def left(folder: Path, name: str, end: str = "") -> Path:
    path = folder / f".{name}{MARK}0123abcd{end}"
    (path / "gradient").mkdir(parents=True)
    (path / "manifest.json").write_text("{}")
    return path


def test_the_next_export_of_that_name_cleans_up(tmp_path: Path) -> None:
    old, other = left(tmp_path, "a.boxcam"), left(tmp_path, "b.boxcam")
    mine = tmp_path / ".a.boxcam.boxcam-notours"
    mine.mkdir()
    with write(tmp_path / "a.boxcam") as folder:
        assert not old.exists()
        assert folder.name.startswith(f".a.boxcam{MARK}")
        (folder / "manifest.json").write_text("{}")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["a.boxcam", other.name, mine.name])


def test_what_is_being_written_stays(tmp_path: Path) -> None:
    with write(tmp_path / "a.boxcam") as one:
        with write(tmp_path / "a.boxcam") as two:
            assert one.is_dir()
            assert two.is_dir()
            (two / "manifest.json").write_text("{}")
        (one / "manifest.json").write_text("{}")
        one_name = one.name
        sweep(tmp_path, "a.boxcam")
        assert (tmp_path / one_name).is_dir()
        (tmp_path / "a.boxcam" / "manifest.json").unlink()
        (tmp_path / "a.boxcam").rmdir()


def test_a_bundle_that_was_being_replaced_is_put_back(tmp_path: Path) -> None:
    old = left(tmp_path, "a.boxcam", OLD)
    with pytest.raises(ZeroDivisionError), write(tmp_path / "a.boxcam"):
        raise ZeroDivisionError
    assert not old.exists()
    assert (tmp_path / "a.boxcam" / "manifest.json").is_file()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("precious")
    (tmp_path / f".a.boxcam{MARK}0123abcd").symlink_to(tmp_path / "precious")
    sweep(tmp_path, "a.boxcam")
    assert (tmp_path / "precious" / "file").read_text() == "precious"


def test_a_killed_export_leaves_nothing_for_long(file: Path, tmp_path: Path, temporary: Path) -> None:
    process = begin("export", file, "--preprocess", "imagenet", "-o", tmp_path / "a.boxcam")
    wait_for_work(process)
    process.kill()
    process.communicate()
    killed = [*ours(temporary), *(path for path in tmp_path.iterdir() if MARK in path.name)]
    onnx.save(model(), str(tmp_path / "good.onnx"))
    process = begin("export", tmp_path / "good.onnx", "--preprocess", "imagenet", "-o", tmp_path / "a.boxcam")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert not any(path.exists() for path in killed)
    assert ours(temporary) == []
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_temporary_folders_are_private_and_swept(temporary: Path) -> None:
    with temporary_folder() as one:
        assert Path(one).parent == temporary
        assert Path(one).stat().st_mode & 0o777 == 0o700
        with temporary_folder():
            assert Path(one).is_dir()
    assert ours(temporary) == []


def test_results_that_were_cut_short_are_swept(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    killed, busy = (out / name_aside("result") for _ in range(2))
    for path in (killed, busy):
        path.write_bytes(b"half")
    with locked(busy):
        boxcam.load(BUNDLE).explain(PICTURE, top=1).save(out)
    assert sorted(path.name for path in out.iterdir()) == sorted([busy.name, "cat.json", "cat.npz", "cat.png"])
