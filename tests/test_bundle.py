"""Bundles are written whole or not at all, and read only if they are what was written."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from boxcam.bundle import (
    FORMAT_VERSION,
    FORWARD,
    MANIFEST,
    Manifest,
    check_target,
    read,
    seal,
    write,
    write_manifest,
)
from boxcam.errors import BundleError, OutputError
from tests.manifest_of_all import MANIFEST_OF_ALL

GRADIENTS = ("neck.onnx", "neck.pt", "neck.x1.onnx", "neck.m.onnx")
HEADS = ("head.neck.onnx", "head-1.neck.onnx")
GRAPHS = (*(f"gradient.{name}" for name in GRADIENTS), *HEADS)
FILES = {FORWARD: b"forward", **{name: name.removeprefix("gradient.").encode() for name in GRAPHS}}


def make(path: Path, manifest: Manifest = MANIFEST_OF_ALL, **options: Any) -> Manifest:
    with write(path, **options) as root:
        for name, data in FILES.items():
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).write_bytes(data)
        return write_manifest(root, manifest)


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a manifest and seal it again: what is wrong with it must be found all the same."""
    data = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    change(data)
    data["seal"] = seal(data)
    (path / MANIFEST).write_text(json.dumps(data), encoding="utf-8")


def set_in(*keys: Any, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(data: Any) -> None:
        for key in keys[:-1]:
            data = data[key]
        data[keys[-1]] = to

    return change


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    make(tmp_path / "net.boxcam")
    return tmp_path / "net.boxcam"


def contents(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def test_what_was_written_is_read(bundle: Path) -> None:
    manifest = read(bundle)
    assert dataclasses.replace(manifest, files={}, seal="") == MANIFEST_OF_ALL
    assert set(manifest.files) == set(FILES)
    # sha256 of b"forward", from coreutils
    assert manifest.files[FORWARD] == "9dc08e4033827c93f48cabc2f61e3f9817b51a7f1bcfa513a7537dcbc5d162e7"
    assert read(str(bundle)) == manifest
    assert type(manifest.layers[0].tensors[0].stride) is tuple
    assert contents(bundle.parent) == ["net.boxcam"]
    assert "猫" in (bundle / MANIFEST).read_text(encoding="utf-8")


def test_a_file_name_that_is_not_utf_8_is_kept(tmp_path: Path) -> None:
    name = os.fsdecode(b"m\xff\xfe\xc3\xa9\\udcff.onnx")  # a backslash of its own, too
    written = make(tmp_path / "net.boxcam", dataclasses.replace(MANIFEST_OF_ALL, source={"file": name, "for": "猫"}))
    assert read(tmp_path / "net.boxcam") == written
    assert os.fsencode(written.source["file"]) == b"m\xff\xfe\xc3\xa9\\udcff.onnx"
    text = (tmp_path / "net.boxcam" / MANIFEST).read_text(encoding="utf-8")
    assert '"m\\udcff\\udcfeé\\\\udcff.onnx"' in text
    assert "猫" in text


@pytest.mark.parametrize("change", [("猫", "犬"), ('"height": 800', '"height": 832'), ('"seal": "', '"seal": "0')])
def test_a_manifest_that_was_edited_is_not_believed(change: tuple[str, str], bundle: Path) -> None:
    text = (bundle / MANIFEST).read_text(encoding="utf-8")
    assert change[0] in text
    (bundle / MANIFEST).write_text(text.replace(*change, 1), encoding="utf-8")
    with pytest.raises(BundleError, match=r"manifest\.json was altered: its seal does not match"):
        read(bundle)


def test_a_bundle_can_be_moved_and_linked_to(bundle: Path, tmp_path: Path) -> None:
    expected = read(bundle)
    bundle.rename(tmp_path / "moved")
    (tmp_path / "link").symlink_to("moved")
    assert read(tmp_path / "moved") == expected
    assert read(tmp_path / "link") == expected


def test_defaults_may_be_missing(bundle: Path) -> None:
    edit(bundle, lambda data: data["preprocess"].pop("interpolation"))
    edit(bundle, lambda data: data["layers"][0]["gradients"][0].pop("means", None))
    assert (read(bundle).preprocess.interpolation, read(bundle).layers[0].gradients[0].means) == ("bilinear", "")


def test_whole_numbers_are_good_enough_for_floats(bundle: Path) -> None:
    edit(bundle, set_in("preprocess", "mean", to=[1, 2, 3]))
    mean = read(bundle).preprocess.mean
    assert mean == (1, 2, 3)
    assert all(type(value) is float for value in mean)


def link(file: Path) -> None:
    """Put a link in place of a file, to the very same bytes outside of the bundle."""
    file.rename(file.parents[1] / file.name)
    file.symlink_to(file.parents[1] / file.name)


ALTERATIONS: dict[str, tuple[Callable[[Path], object], str]] = {
    "not there": (shutil.rmtree, "does not exist. Make one with 'boxcam export'"),
    "a file": (lambda path: (shutil.rmtree(path), path.touch()), "a bundle is a folder"),
    "no manifest": (lambda path: (path / MANIFEST).unlink(), "is not a bundle: it has no manifest.json"),
    "manifest is a folder": (
        lambda path: ((path / MANIFEST).unlink(), (path / MANIFEST).mkdir()),
        r"cannot be read \(it is a folder",
    ),
    "manifest cut off": (
        lambda path: (path / MANIFEST).write_bytes((path / MANIFEST).read_bytes()[:300]),
        r"manifest.json cannot be read \(.*Export the model again",
    ),
    "manifest empty": (lambda path: (path / MANIFEST).write_bytes(b""), r"cannot be read \("),
    "manifest not text": (lambda path: (path / MANIFEST).write_bytes(b"\xff\xfe\x00"), r"cannot be read \("),
    "manifest a list": (lambda path: (path / MANIFEST).write_text("[1, 2]"), "does not state its format"),
    "file lost": (lambda path: (path / "gradient.neck.onnx").unlink(), "has lost its file gradient.neck.onnx"),
    "a file more": (
        lambda path: (path / "notes.txt").touch(),
        "holds a file that its manifest does not list: 'notes.txt'. Move it out",
    ),
    "a hidden file more": (lambda path: (path / ".DS_Store").touch(), r"does not list: '\.DS_Store'"),
    "a file more in a folder": (
        lambda path: ((path / "a/b").mkdir(parents=True), (path / "a/b/c.onnx").touch()),
        "does not list: 'a/b/c.onnx'",
    ),
    "a link in place of a file": (lambda path: link(path / FORWARD), "forward.onnx is a link, which a bundle must not"),
    "a link more": (lambda path: (path / "more").symlink_to("/etc/hostname"), "more is a link, which a bundle must"),
    "a link to a folder": (lambda path: (path / "more").symlink_to(path.parent), "more is a link, which a bundle"),
    "a link to nowhere": (lambda path: (path / "more").symlink_to("nowhere"), "more is a link, which a bundle must"),
    "a manifest that is a link": (lambda path: link(path / MANIFEST), r"manifest\.json is a link, not a file"),
    "a manifest that is a pipe": (
        lambda path: ((path / MANIFEST).unlink(), os.mkfifo(path / MANIFEST)),
        r"manifest\.json cannot be read \(it is a named pipe, not a file\)",
    ),
    "a pipe": (lambda path: os.mkfifo(path / "more"), "more is neither a file nor a folder, which a bundle must not"),
    "file altered": (lambda path: (path / FORWARD).write_bytes(b"forwarD"), "forward.onnx was altered"),
    "file longer": (lambda path: (path / FORWARD).write_bytes(b"forward "), "forward.onnx was altered"),
    "file empty": (lambda path: (path / "gradient.neck.pt").write_bytes(b""), "neck.pt was altered"),
}

EDITS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "newer": (
        set_in("format", to=FORMAT_VERSION + 1),
        rf"has format {FORMAT_VERSION + 1}, and this boxcam reads up to {FORMAT_VERSION}. Update boxcam .*1\.2\.3",
    ),
    "newer, with keys of its own": (
        lambda data: data.update(format=99, wonder=1),
        "has format 99, and this boxcam reads up to",
    ),
    "no format": (lambda data: data.pop("format"), "does not state its format"),
    "format of words": (set_in("format", to="1"), "does not state its format"),
    "format true": (set_in("format", to=True), "does not state its format"),
    "format 0": (set_in("format", to=0), "does not state its format"),
    "unknown key": (set_in("wonder", to=1), r"Manifest: unknown \['wonder'\], missing \[\]"),
    "unknown key within": (set_in("layers", 0, "wonder", to=1), r"Layer: unknown \['wonder'\]"),
    "missing key": (lambda data: data.pop("labels"), r"Manifest: unknown \[\], missing \['labels'\]"),
    "missing key within": (lambda data: data["preprocess"].pop("std"), r"Preprocess: .*missing \['std'\]"),
    "number for text": (set_in("input", to=3), "str was expected, not 3"),
    "text for number": (set_in("layers", 0, "tensors", 0, "channels", to="256"), "int was expected, not '256'"),
    "float for int": (set_in("layers", 0, "tensors", 0, "channels", to=2.5), "int was expected, not 2.5"),
    "true for int": (set_in("preprocess", "height", to=True), "int was expected, not True"),
    "int for true": (set_in("preprocess", "pad_before_normalize", to=1), "bool was expected, not 1"),
    "null": (set_in("labels", to=None), "a list was expected, not None"),
    "null for text": (set_in("input", to=None), "str was expected, not None"),
    "text for list": (set_in("labels", to="person"), "a list was expected, not 'person'"),
    "list for object": (set_in("source", to=[]), r"an object was expected, not \[\]"),
    "list for layer": (set_in("layers", 0, to=[]), r"Layer: an object was expected, not \[\]"),
    "two means": (set_in("preprocess", "mean", to=[1, 2]), "3 items were expected, not|one value for each channel"),
    "one stride": (set_in("layers", 0, "tensors", 0, "stride", to=[8.0]), r"2 items should be there, not \[8\.0\]"),
    "number beyond floats": (set_in("preprocess", "mean", to=[10**400, 0, 0]), "is not a valid manifest"),
    "no such form": (set_in("layers", 0, "gradients", 0, "form", to="guess"), "'guess' is none of"),
    "no such colour": (set_in("preprocess", "color", to=["RGB"]), r"\['RGB'\] is none of"),
    "canvas too small": (set_in("preprocess", "height", to=700), "800x1333 exceeds 700x1344"),
    "std of 0": (set_in("preprocess", "std", to=[1, 0, 1]), "std must be positive"),
    "size of 0": (set_in("preprocess", "fit_width", to=0), "sizes must be positive"),
    "no hashes": (lambda data: data.pop("files"), "has no hash of forward.onnx"),
    "a gradient without a hash": (
        set_in("layers", 0, "gradients", 0, "file", to="../evil.onnx"),
        r"has no hash of \.\./evil.onnx",
    ),
    "a hash that is no text": (set_in("files", FORWARD, to=None), "str was expected, not None"),
    "a path out": (set_in("files", "../evil.onnx", to="0"), r"names a file outside the bundle: '\.\./evil.onnx'"),
    "a path in and out": (set_in("files", "gradient/../../evil.onnx", to="0"), "names a file outside the bundle"),
    "a path from the root": (set_in("files", "/etc/hostname", to="0"), "outside the bundle: '/etc/hostname'"),
    "a path that is a folder": (set_in("files", ".", to="0"), "names a file outside the bundle"),
    "a graph of another kind": (
        lambda data: (
            data["layers"][0]["gradients"][0].update(file="gradient.neck.pt"),
            data["layers"][0]["gradients"][2].update(file="gradient.neck.pt"),
        ),
        r"gradient 'gradient\.neck\.pt': a file of the engine onnx ends in \.onnx",
    ),
    "another hash": (set_in("files", FORWARD, to="0" * 64), "forward.onnx was altered"),
}


def refusal(path: Path) -> str:
    with pytest.raises(BundleError) as caught:
        read(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert message.endswith(".")
    return message


@pytest.mark.parametrize("case", ALTERATIONS)
def test_an_altered_bundle_is_refused(case: str, bundle: Path) -> None:
    change, expected = ALTERATIONS[case]
    change(bundle)
    assert re.search(expected, refusal(bundle))


@pytest.mark.parametrize("case", EDITS)
def test_an_edited_manifest_is_refused(case: str, bundle: Path) -> None:
    (bundle.parent / "evil.onnx").write_bytes(b"")
    change, expected = EDITS[case]
    edit(bundle, change)
    assert re.search(expected, refusal(bundle))


def test_a_file_that_cannot_be_opened(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(self: Path, mode: str = "r", *rest: Any, **options: Any) -> Any:
        if self.name == FORWARD:
            raise PermissionError(13, "Permission denied")
        return open(self, mode, *rest, **options)

    monkeypatch.setattr(Path, "open", deny)
    with pytest.raises(BundleError, match="cannot be read: Permission denied"):
        read(bundle)


class Stop(BaseException):
    """Such as KeyboardInterrupt."""


@pytest.mark.parametrize("error", [ValueError, OSError, Stop])
@pytest.mark.parametrize("there", [False, True])
def test_a_failure_leaves_nothing_behind(error: type[BaseException], there: bool, tmp_path: Path) -> None:
    path = tmp_path / "net.boxcam"
    before = make(path) if there else None

    def fail_half_way() -> None:
        with write(path, overwrite=True) as root:
            (root / FORWARD).write_bytes(b"half")
            raise error("half way")

    with pytest.raises(error, match="half way"):
        fail_half_way()
    assert contents(tmp_path) == (["net.boxcam"] if there else [])
    if there:
        assert read(path) == before


def test_the_name_is_free_until_the_end(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "net.boxcam"
    with write(path) as root:
        assert root.parent == path.parent  # a rename within one disk
        assert not path.exists()
        assert contents(root) == []
    assert path.is_dir()
    assert path.stat().st_mode & 0o777 == 0o755


def test_overwrite(bundle: Path) -> None:
    other = dataclasses.replace(MANIFEST_OF_ALL, boxcam="9")
    with pytest.raises(OutputError, match=r"bundle .*net.boxcam exists. Replace it with overwrite=True, or choose"):
        make(bundle, other)
    assert read(bundle).boxcam == "1.2.3"
    (bundle / "stale").touch()
    make(bundle, other, overwrite=True)
    assert read(bundle).boxcam == "9"
    assert contents(bundle) == sorted([*FILES, MANIFEST])
    assert contents(bundle.parent) == ["net.boxcam"]


def test_what_is_no_bundle_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    (tmp_path / "file").write_text("precious")
    for name in ("photos", "file"):
        with pytest.raises(OutputError, match=f"{name} exists and is not a bundle, so it is left alone"):
            make(tmp_path / name, overwrite=True)
        with pytest.raises(OutputError, match="it is left alone"):
            check_target(tmp_path / name, overwrite=True)
    assert contents(tmp_path / "photos") == ["a.jpg"]
    assert (tmp_path / "file").read_text() == "precious"
    assert contents(tmp_path) == ["file", "photos"]


def test_what_appears_while_the_bundle_is_made_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "net.boxcam"

    def be_overtaken() -> None:
        with write(path, overwrite=True):
            path.mkdir()
            (path / "a.jpg").touch()

    with pytest.raises(OutputError, match="is left alone"):
        be_overtaken()
    assert contents(path) == ["a.jpg"]
    assert contents(tmp_path) == ["net.boxcam"]


def test_a_link_to_a_bundle_stays_a_link(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(bundle)
    make(tmp_path / "link", dataclasses.replace(MANIFEST_OF_ALL, boxcam="9"), overwrite=True)
    assert (tmp_path / "link").is_symlink()
    assert read(bundle).boxcam == "9"
    assert contents(tmp_path) == ["link", "net.boxcam"]


@pytest.mark.parametrize("path", ["file/net.boxcam", "file/deep/er/net.boxcam"])
def test_a_place_below_a_file(path: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        OutputError, match=r"file is not writable \(Not a directory\)\. Choose another place with output="
    ):
        check_target(tmp_path / path)
    with pytest.raises(OutputError, match="file is not writable"):
        make(tmp_path / path)
    assert contents(tmp_path) == ["file"]


def test_a_folder_that_may_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(
        OutputError, match=rf"cannot write .*net.boxcam: {tmp_path} is not writable \(Permission denied\)"
    ):
        make(tmp_path / "deep" / "net.boxcam")
    assert contents(tmp_path) == []


def test_a_name_that_the_disk_refuses(tmp_path: Path) -> None:
    for length in (256, 5000):
        with pytest.raises(OutputError, match="File name too long"):
            make(tmp_path / ("a" * length))
    assert contents(tmp_path) == []
    make(tmp_path / ("a" * 255))
    make(tmp_path / ("a" * 255), overwrite=True)
    assert contents(tmp_path) == ["a" * 255]


@pytest.mark.parametrize("failing", [1, 2])
def test_if_the_last_step_fails_the_old_bundle_is_still_there(
    failing: int, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, calls, rename = read(bundle), [], Path.rename

    def fail(self: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) == failing:
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OutputError, match="No space left on device"):
        make(bundle, dataclasses.replace(MANIFEST_OF_ALL, boxcam="9"), overwrite=True)
    assert len(calls) >= failing
    assert read(bundle) == before
    assert contents(bundle.parent) == ["net.boxcam"]


def test_the_manifest_names_every_file_but_itself(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    for name in ("a/b/c.bin", "z", ".hidden", MANIFEST):
        (tmp_path / name).write_text("old")
    manifest = write_manifest(tmp_path, MANIFEST_OF_ALL)
    assert list(manifest.files) == [".hidden", "a/b/c.bin", "z"]
    assert MANIFEST_OF_ALL.files == {}
    assert json.loads((tmp_path / MANIFEST).read_text(encoding="utf-8"))["files"] == manifest.files
