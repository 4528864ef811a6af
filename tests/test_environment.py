"""What the system refuses, or is not as it mostly is, is said in one line: rights, disks, closed streams, signals."""

from __future__ import annotations

import builtins
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

import boxcam
from boxcam.commands import console
from boxcam.errors import BundleError, OutputError
from boxcam.runtime.images import find_images

Cli = Callable[..., Result]


@pytest.fixture
def shut(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Take the right to go into a folder (its names can still be listed), as of a mode of 0444; also from root."""

    def shut_folder(folder: Path) -> None:
        def refusing(real: Any) -> Any:
            def call(path: Any, *given: Any, **more: Any) -> Any:
                if not isinstance(path, int) and f"{os.fspath(path)}".startswith(f"{folder}{os.sep}"):
                    raise PermissionError(13, "Permission denied", os.fspath(path))
                return real(path, *given, **more)

            return call

        for module, names in ((os, ("stat", "lstat", "open", "readlink")), (builtins, ("open",)), (io, ("open",))):
            for name in names:
                monkeypatch.setattr(module, name, refusing(getattr(module, name)))

    return shut_folder


@pytest.mark.parametrize("command", ["inspect", "explain"])
@pytest.mark.parametrize("whole", [True, False])
def test_a_bundle_that_may_not_be_entered(
    command: str, whole: bool, signs_bundle: Path, signs: Path, tmp_path: Path, cli: Cli, shut: Callable[[Path], None]
) -> None:
    bundle = tmp_path / "b.boxcam"
    if whole:
        shutil.copytree(signs_bundle, bundle)
    else:
        bundle.mkdir()
        (bundle / "model.onnx").touch()
    shut(bundle)
    image = [signs / "images" / "cat.jpg", "-o", tmp_path / "out"] if command == "explain" else []
    done = cli(command, bundle, *image)
    assert done.exit_code == 1
    assert done.stderr.startswith(f"boxcam: bundle {bundle} cannot be read: Permission denied. Check its permissions.")
    assert done.stderr.count("\n") == 1
    with pytest.raises(BundleError, match="Permission denied"):
        boxcam.load(bundle)


def test_images_that_may_not_be_looked_at(
    signs_bundle: Path, signs: Path, tmp_path: Path, cli: Cli, shut: Callable[[Path], None]
) -> None:
    (tmp_path / "shut").mkdir()
    for name in ("a.jpg", "b.jpg"):
        shutil.copyfile(signs / "images" / "cat.jpg", tmp_path / "shut" / name)
    shut(tmp_path / "shut")
    for given, lines in ((tmp_path / "shut" / "*.jpg", 2), (tmp_path / "shut", 1)):
        done = cli("explain", signs_bundle, given, "-o", tmp_path / "out")
        assert done.exit_code == 1
        said = [line for line in done.stderr.splitlines() if line.startswith("boxcam: ")]
        assert len(said) == len(done.stderr.splitlines()) == lines
        assert all("cannot be read: Permission denied. Check " in line for line in said)


def test_a_folder_is_read_once_however_often_links_lead_back(signs: Path, tmp_path: Path) -> None:
    for name in ("a.jpg", "z.jpg"):
        shutil.copyfile(signs / "images" / "cat.jpg", tmp_path / name)
    (tmp_path / "self").symlink_to(".")
    (tmp_path / "other").mkdir()
    shutil.copyfile(signs / "images" / "cat.jpg", tmp_path / "other" / "a.jpg")
    (tmp_path / "b.jpg").symlink_to("a.jpg")  # a name of its own
    (tmp_path / "gone.jpg").symlink_to("nowhere.jpg")
    found = find_images(str(tmp_path / "**" / "*.jpg"))
    assert [path.relative_to(tmp_path).as_posix() for path in found] == ["a.jpg", "b.jpg", "other/a.jpg", "z.jpg"]


def run(*arguments: object, **settings: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "boxcam", *map(str, arguments)]
    return subprocess.run(command, text=True, check=False, **settings)


@pytest.mark.parametrize("what", ["inspect", "help"])
def test_standard_output_on_a_full_disk(what: str, signs_bundle: Path) -> None:
    with open("/dev/full", "w") as full:
        done = run(*(["inspect", signs_bundle] if what == "inspect" else ["--help"]), stdout=full, stderr=-1)
        assert done.returncode == 1
        assert done.stderr.startswith("boxcam: ")
        assert "No space left on device. " in done.stderr
        assert done.stderr.count("\n") == 1
        silent = run("inspect", "nowhere.boxcam", stdout=-1, stderr=full)
        assert (silent.returncode, silent.stdout) == (1, "")


@pytest.mark.parametrize("closed", ["2>&-", ">&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams(closed: str, signs_bundle: Path, signs: Path, tmp_path: Path) -> None:
    line = f'exec "$0" -m boxcam explain "$1" "$2" -o "$3" {closed}'
    given = [sys.executable, signs_bundle, signs / "images" / "cat.jpg", tmp_path]
    done = subprocess.run(["sh", "-c", line, *map(str, given)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert sorted(os.listdir(tmp_path)) == ["cat.json", "cat.npz", "cat.png", "index.html"]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8", "cp1252"])
def test_json_is_json_in_every_encoding(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = {"é": "猫 \U0001f600 \udcff \x07 \u2028", "path": "C:\\x41"}
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", out)
    console.say(json.dumps(data, ensure_ascii=False))
    out.flush()
    assert json.loads(out.buffer.getvalue().decode(encoding)) == data  # type: ignore[attr-defined]


def test_an_output_that_fails_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(sys, "stdout", Full())
    with pytest.raises(OutputError, match=r"^standard output cannot be written: No space left on device\. Send it "):
        console.say("text")
    monkeypatch.setattr(sys, "stderr", Full())
    console.say("text", err=True)


def test_ctrl_c_while_onnx_runtime_is_imported(signs_bundle: Path, signs: Path, tmp_path: Path) -> None:
    """What imports it may turn the interruption into an error of its own, as pybind11 does."""
    (tmp_path / "onnxruntime").mkdir()
    (tmp_path / "onnxruntime" / "__init__.py").write_text(
        "import os, signal, time\n"
        "try:\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    time.sleep(1.5)\n"
        "except BaseException as error:\n"
        '    raise ImportError("initialization failed") from error\n'
    )
    settings = {"env": {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}}
    given = [signs_bundle, signs / "images" / "cat.jpg", "-o", tmp_path / "out"]
    done = run("explain", *given, capture_output=True, **settings)
    assert (done.returncode, done.stderr) == (128 + signal.SIGINT, "boxcam: interrupted\n")


def test_an_interruption_behind_an_error_is_an_interruption(monkeypatch: pytest.MonkeyPatch, cli: Cli) -> None:
    def fail(*given: Any, **more: Any) -> None:
        try:
            try:
                raise KeyboardInterrupt
            except KeyboardInterrupt as event:
                raise ImportError("initialization failed") from event
        except ImportError as error:
            raise BundleError("something of it") from error

    monkeypatch.setattr("boxcam.inspection.check_bundle", fail)
    done = cli("inspect", "a.boxcam")
    assert (done.exit_code, done.stderr) == (130, "boxcam: interrupted\n")


def test_an_error_of_the_system_is_one_line(monkeypatch: pytest.MonkeyPatch, cli: Cli) -> None:
    def fail(*given: Any, **more: Any) -> None:
        raise OSError(5, "Input/output error", "a.boxcam")

    monkeypatch.setattr("boxcam.inspection.check_bundle", fail)
    done = cli("inspect", "a.boxcam")
    assert done.exit_code == 1
    assert done.stderr == "boxcam: a.boxcam: Input/output error. Check the path, its permissions and the disk.\n"


@pytest.mark.parametrize(
    "given",
    [
        ["--all"],
        ["--shape", "3x3"],
        ["--scores", "s"],
        ["--accept", "boxes"],
        ["--preprocess", "yolo"],
        ["--json", "--all"],
    ],
)
def test_what_is_of_onnx_files_is_refused_of_bundles(given: list[str], signs_bundle: Path, cli: Cli) -> None:
    done = cli("inspect", signs_bundle, *given)
    assert (done.exit_code, done.stdout) == (2, "")
    flag = next(one for one in given if one.startswith("--") and one != "--json")
    assert done.stderr.endswith(f"{flag} is for ONNX files, and {signs_bundle} is a bundle. Leave it out.\n")


def test_a_sample_is_run_for_machines_too(signs_bundle: Path, signs: Path, cli: Cli) -> None:
    told = json.loads(cli("inspect", signs_bundle, "--json").stdout)["sample"]
    found = json.loads(cli("inspect", signs_bundle, "--json", "--sample", signs / "images" / "street.jpg").stdout)
    assert (told or {}).get("picture") != "street.jpg"
    assert found["sample"]["picture"] == "street.jpg"
    assert found["sample"]["best"][0]["name"] == "pedestrian crossing"
    missing = cli("inspect", signs_bundle, "--json", "--sample", "nowhere.jpg")
    assert (missing.exit_code, missing.stdout) == (1, "")
    assert missing.stderr == "boxcam: image nowhere.jpg does not exist. Check the path.\n"


@pytest.mark.parametrize("threads", ["1025", "3000000000"])
def test_threads_beyond_reason(threads: str, cli: Cli) -> None:
    done = cli("explain", "b", "i", "--threads", threads)
    assert done.exit_code == 2
    assert done.stderr.endswith(f"'--threads': {threads} is too high: it must be at most 1024.\n")
