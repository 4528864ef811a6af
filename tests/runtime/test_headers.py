"""What a file states of its size: soon, whatever its bytes are, and never less than a decoder makes of it."""

from __future__ import annotations

import contextlib
import io
import random
import re
import struct
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from boxcam.runtime import foreign, headers
from boxcam.runtime.images import _quiet
from tests.fuzz.mutate import mend_png

MIB = 1 << 20
BEGINNINGS = (
    *(headers.PNG, b"\xff\xd8", b"\xff\xd8\xff", *headers.GIF, b"BM", *headers.TIFF, b"P1", b"P5", b"P6 ", b"P7\n"),
    *(b"P7\nWIDTH", b"RIFF\xff\xff\xff\x7fWEBPVP8X", b"\0\0\0\x14ftypavif\0\0\0\0avif", b"\xff\x4f\xff\x51"),
    b"\0\0\0\x0cjP  \r\n\x87\n",
)
REPEATED = (
    *(b"\xff", b"\0", b"\n", b" ", b"#", b"#\n", b"9", b"9 ", b" 9", b"\xff\xd8", b"\xff\xe0\0\2", b"\xff\xe0\0\0"),
    *(b"WIDTH ", b"WIDTH 9\n", b"\nWIDTH\n", b"\n\nWIDTH 9 9", b"\0\0\0\x08meta", b"\0\0\0\x08free", b"\x01\0"),
    b"\0\0\0\x0cispe\0\0\0\0",
)


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    with contextlib.suppress(ValueError):
        work()
    return time.perf_counter() - began


@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_a_header_is_read_in_a_time_that_grows_with_the_file_and_not_with_its_square(beginning: bytes) -> None:
    for repeated in REPEATED:
        for ending in (b"", b"\0", b"x"):
            data = beginning + repeated * (MIB // 8 // len(repeated)) + ending
            assert seconds(lambda data=data: headers.size(data)) < 1.5, (repeated, ending)  # type: ignore[misc]
            assert seconds(lambda data=data: foreign.what_else(data)) < 1, (repeated, ending)  # type: ignore[misc]


def test_every_pattern_for_the_bytes_of_a_file_takes_a_time_that_grows_with_them() -> None:
    """Where a square of it would take minutes. How each is used is said here, and a new one has to be added."""
    uses = {
        "_MARKER": lambda pattern, data: pattern.search(data),
        "_NUMBER": lambda pattern, data: pattern.match(data),
    }
    patterns = {name: value for name, value in vars(headers).items() if isinstance(value, re.Pattern)}
    assert set(patterns) == set(uses)
    for name, pattern in patterns.items():
        for repeated in REPEATED:
            for ending in (b"", b"\0", b"x"):
                data = repeated * (MIB // 4 // len(repeated)) + ending
                work = lambda pattern=pattern, use=uses[name], data=data: use(pattern, data)  # noqa: E731
                assert seconds(work) < 1, (name, repeated, ending)


@pytest.mark.parametrize("fill", [0, 1, 2, 7])
def test_a_marker_may_stand_after_fill_bytes(fill: int) -> None:
    frame = b"\xff" * fill + b"\xff\xc0" + bytes([0, 11, 8, 0, 24, 0, 36, 1, 1, 17, 0])
    assert headers.size(b"\xff\xd8" + frame + b"\xff" * fill + b"\xff\xd9") == (36, 24)
    stuffed = b"\xff\xda\0\2" + b"\xff\0\xff\xd0\xff\xff\0" + b"\xff" * fill + b"\xff\xd9"
    assert headers.size(b"\xff\xd8" + frame + stuffed) == (36, 24)


def frame(width: int, height: int) -> bytes:
    """A JPEG 2000 codestream's beginning."""
    return b"\xff\x4f\xff\x51" + struct.pack(">HHIIIIIIII", 41, 0, width, height, 0, 0, width, height, 0, 0)


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + kind + content


def tiff(*entries: tuple[int, int, int], order: str = "<") -> bytes:
    """A directory of entries: tag, type, value."""
    packed = b"".join(
        struct.pack(order + "HHI", tag, kind, 1)
        + struct.pack(order + {1: "B", 3: "H"}.get(kind, "I"), value).ljust(4, b"\0")
        for tag, kind, value in entries
    )
    return (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, len(entries)) + packed + bytes(4)


SIGNATURE = b"\0\0\0\x0cjP  \r\n\x87\n"
STATED: dict[str, tuple[bytes, tuple[int, int] | None]] = {
    "netpbm": (b"P5 36 24 255\n", (36, 24)),
    "netpbm with zeros in front": (b"P5\n00000000000101 0060\n255\n", (101, 60)),
    "netpbm with more of them than any number has": (b"P5\n" + b"0" * 5000 + b"1 60\n", None),
    "netpbm with comments": (b"P6#a 1 2\n #b\r\t36 #c\n24\n255\n", (36, 24)),
    "netpbm with a comment at a number's end, which OpenCV takes for the end": (b"P5\n9#8 7\n5\n", (9, 8)),
    "pam": (b"P7\nWIDTH 36\nHEIGHT 24\nENDHDR\nWIDTH 99\n", (36, 24)),
    "pam with two widths": (b"P7\nWIDTH 36\n#a\nHEIGHT 24\nWIDTH 7\nENDHDR\n", (36, 24)),
    "pam with much in between": (b"P7\nWIDTH 3\n#" + b"x" * 9000 + b"\nWIDTH 36\nHEIGHT 24\nENDHDR\n", (36, 24)),
    "pam with a large number": (b"P7\nWIDTH " + b"9" * 5000 + b"\nHEIGHT 24\nENDHDR\n", None),
    "tiff": (tiff((256, 4, 36), (257, 3, 24)), (36, 24)),
    "tiff of the other order": (tiff((256, 3, 36), (257, 4, 24), order=">"), (36, 24)),
    "tiff with a second width": (tiff((256, 4, 36), (256, 4, 5), (257, 4, 24), (257, 4, 3)), (36, 24)),
    "tiff with a width of eight bytes": (tiff((256, 16, 38), (257, 4, 24)) + struct.pack("<Q", 36), (36, 24)),
    "tiff with a width of text": (tiff((256, 2, 36), (257, 4, 24)), None),
    "j2k": (frame(36, 24), (36, 24)),
    "jp2": (SIGNATURE + box(b"ftyp", b"jp2 ") + box(b"jp2c", frame(36, 24)), (36, 24)),
    "jp2 with another codestream in a box of one's own": (
        SIGNATURE + box(b"uuid", bytes(16) + frame(5, 5)) + box(b"jp2c", frame(36, 24)),
        (36, 24),
    ),
    "jp2 without one": (SIGNATURE + box(b"uuid", bytes(16) + frame(5, 5)), None),
}


@pytest.mark.parametrize("name", STATED)
def test_the_size_that_a_header_states(name: str) -> None:
    data, expected = STATED[name]
    if expected is None:
        with pytest.raises((ValueError, headers.TruncatedError)):
            headers.size(data)
    else:
        assert headers.size(data) == expected


def test_of_random_numbers_and_separators_opencv_reads_the_same() -> None:
    rng, read = random.Random(0), 0
    parts = [b"\n", b" ", b"\t\r", b"#\n", b"#7 8\n", b"#", b"0", b"00000000000000", b"3", b"12", b"x"]
    for _ in range(3000):
        middle = b"".join(rng.choice(parts) for _ in range(rng.randint(2, 7)))
        data = b"P5" + middle + b"\n255\n" + b"9" * 4000
        with _quiet():
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if pixels is not None:
            read += 1
            assert headers.size(data) == pixels.shape[1::-1], data[:40]
    assert read > 50


SEEDS = sorted((Path(__file__).parents[1] / "fuzz" / "seeds").glob("image.*"))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: seed.name)
def test_no_less_is_stated_than_another_reader_finds(seed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow, which reads the header of a file on its own: of each seed, and of 1500 with other bytes in it."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    rng, read = random.Random(0), 0
    for number in range(1501):
        data = bytearray(seed.read_bytes())
        for _ in range(rng.choice((1, 2, 4)) if number else 0):
            data[rng.randrange(min(len(data), 400))] = rng.choice((0, 1, 255, rng.randrange(256)))
        if data.startswith(headers.PNG):
            data = bytearray(mend_png(bytes(data)))
        try:
            found = Image.open(io.BytesIO(data)).size
        except Exception:  # noqa: BLE001 - Pillow does not read it
            continue
        try:
            stated = headers.size(bytes(data))
        except ValueError:
            continue
        if stated is None:
            continue
        read += 1
        if seed.suffix == ".gif":  # Pillow enlarges the screen to a frame that does not fit, OpenCV does not
            found = data[6] | data[7] << 8, data[8] | data[9] << 8
        if seed.suffix == ".bmp":  # below 0 is from above, and Pillow has it for a size of 32 bits
            found = tuple(min(side, (1 << 32) - side) for side in found)
        assert stated[0] >= found[0], data[:60]
        assert stated[1] >= found[1], data[:60]
    assert read > 200
