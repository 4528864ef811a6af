"""Files of ``numpy.save``: what numpy writes is read as it is, and headers of anything else are refused."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from boxcam.runtime.arrays import NPY, open_array

ARRAYS: dict[str, Any] = {
    "an image": np.arange(24, dtype=np.uint8).reshape(2, 4, 3),
    "an image column by column": np.asfortranarray(np.arange(24, dtype=np.uint8).reshape(2, 4, 3)),
    "large numbers first": np.arange(6, dtype=">u2").reshape(2, 3),
    "a row": np.array([1.5, 2.5]),
    "a single number": np.array(True),
    "many axes": np.zeros((1,) * 32, np.int8),
    "nothing": np.zeros((0, 3), np.uint8),
}


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_what_numpy_writes_is_read(name: str, version: tuple[int, int], tmp_path: Path) -> None:
    with open(tmp_path / "a.npy", "wb") as file:
        np.lib.format.write_array(file, ARRAYS[name], version)
    found = open_array(tmp_path / "a.npy")
    assert (found.shape, found.dtype) == (ARRAYS[name].shape, ARRAYS[name].dtype)
    assert (found == ARRAYS[name]).all()
    assert not found.flags.writeable


def write(path: Path, header: str, *, length: int | None = None, version: int = 1, content: bytes = bytes(99)) -> Path:
    count = len(header) if length is None else length
    beginning = NPY + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", count)
    path.write_bytes(beginning + header.encode("latin-1") + content)
    return path


HEADER = "{'descr': '|u1', 'fortran_order': False, 'shape': (3, 33), }\n"


@pytest.mark.parametrize(
    "header",
    [
        HEADER,
        HEADER.replace("'", '"'),
        HEADER.replace("(3, 33), ", "(3,33)"),
        HEADER.replace("(3, 33)", "(3L, 33L,)"),
        "{'shape': (3, 33), 'descr': '|u1', 'fortran_order': False}",
        HEADER.strip() + " " * (10_000 - len(HEADER.strip())),
    ],
)
@pytest.mark.filterwarnings("ignore:Reading `.npy` or `.npz` file")  # numpy's own, of what Python 2 wrote
@pytest.mark.parametrize("version", [1, 2])
def test_headers_that_say_the_same(header: str, version: int, tmp_path: Path) -> None:
    assert open_array(write(tmp_path / "a.npy", header, version=version)).shape == (3, 33)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (HEADER.strip() + " " * (10_001 - len(HEADER.strip())), "its header has 10001 bytes"),
        (HEADER.strip()[1:], "its header has no entries"),
        (HEADER.strip()[:-1], "its header has no entries"),
        (HEADER.replace("descr", "type"), "its header is not that of an array of numbers"),
        (HEADER.replace("'|u1'", "[('a', '|u1')]"), "its header is not that of an array of numbers"),
        (HEADER.replace("'|u1'", "'|O' + '8'"), "its header has other entries than an array of numbers has"),
        (HEADER.replace("False", "None"), "its header is not that of an array of numbers"),
        (HEADER.replace("(3, 33)", "[3, 33]"), "its header is not that of an array of numbers"),
        (HEADER.replace("(3, 33)", "(-3, 33)"), "its header is not that of an array of numbers"),
        (HEADER.replace("(3, 33)", f"({', '.join('1' * 33)})"), "its header is not that of an array of numbers"),
        (HEADER.replace("(3, 33)", f"({1 << 24}, {1 << 24})"), r"its shape \(16777216,16777216\) has more numbers"),
        (HEADER.replace(", }", ", 'more': 1}"), "its header has other entries than an array of numbers has"),
        (HEADER.replace(", }", ", ,}"), "its header has other entries than an array of numbers has"),
    ],
)
def test_headers_of_something_else_are_refused(header: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=said):
        open_array(write(tmp_path / "a.npy", header))


def test_objects_are_not_read(tmp_path: Path) -> None:
    """Which numpy would have to unpickle, and a pickle is a program."""
    np.save(tmp_path / "a.npy", np.array([[1, None]], object))
    with pytest.raises(ValueError, match=r"memory-mapped|allow_pickle"):
        open_array(tmp_path / "a.npy")


def test_so_many_numbers_are_too_few_for_the_file(tmp_path: Path) -> None:
    """One number less than the most is looked for in the file, where it is not."""
    header = HEADER.replace("(3, 33)", f"({(1 << 48) - 1},)")
    with pytest.raises(ValueError, match=r"(?i)mmap length|too large|not.*fit|greater than file size") as caught:
        open_array(write(tmp_path / "a.npy", header))
    assert "has more numbers" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "it does not begin as one"),
        (NPY, "it does not begin as one"),
        (NPY + b"\1\0\0", "it does not begin as one"),
        (b"\x93NUMPX\1\0\0\0\0\0", "it does not begin as one"),
        (NPY + b"\1\0" + struct.pack("<H", 3) + b"{}", "it ends in its header"),
        (NPY + b"\2\0" + struct.pack("<I", 3) + b"{}", "it ends in its header"),
        (NPY + b"\1\0" + struct.pack("<H", 2) + b"{}", "its header is not that of an array of numbers"),
    ],
)
def test_files_that_are_cut_off_are_refused(data: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(data)
    with pytest.raises(ValueError, match=said):
        open_array(tmp_path / "a.npy")


def test_fewer_numbers_than_the_header_says(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        open_array(write(tmp_path / "a.npy", HEADER, content=bytes(98)))
