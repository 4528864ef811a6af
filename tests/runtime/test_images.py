"""Every kind of file that a person may have, and every way in which a file can be broken."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import pytest
from PIL import Image

from boxcam.errors import BoxcamWarning, InputError
from boxcam.runtime import avif
from boxcam.runtime.images import EXTENSIONS, check_array, find_images, read_image
from boxcam.runtime.pixels import load_image
from boxcam.runtime.planes import read_planes
from tests.messages import check_message

RGB = (200, 100, 50)
FLAT = np.full((8, 12, 3), RGB, np.uint8)
NOISE = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8), (0, 0), 2)


def encode(image: Any, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(stream, kind, **options)
    return stream.getvalue()


def cv2_encode(kind: str, image: Any) -> bytes:
    return bytes(cv2.imencode(kind, image)[1])


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, rows: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def frames() -> dict[str, Any]:
    return {"save_all": True, "append_images": [Image.fromarray(np.zeros_like(FLAT))]}


KINDS: dict[str, tuple[Callable[[], bytes], tuple[int, int, int]]] = {
    "png": (lambda: encode(FLAT, "PNG"), RGB),
    "jpeg": (lambda: encode(FLAT, "JPEG", quality=98), RGB),
    "progressive jpeg": (lambda: encode(FLAT, "JPEG", quality=98, progressive=True), RGB),
    "jpeg with bytes behind its end": (lambda: encode(FLAT, "JPEG", quality=98) + b"\0thumbnail" * 9, RGB),
    "png with bytes behind its end": (lambda: encode(FLAT, "PNG") + b"\0", RGB),
    "grey jpeg": (lambda: encode(FLAT[..., 0], "JPEG", quality=98), (200, 200, 200)),
    "cmyk jpeg, inverted as Adobe does": (lambda: encode(Image.fromarray(FLAT).convert("CMYK"), "JPEG"), RGB),
    "palette": (lambda: encode(Image.fromarray(FLAT).quantize(4), "PNG"), RGB),
    "palette with a transparent colour": (
        lambda: encode(Image.fromarray(FLAT).quantize(4), "PNG", transparency=0),
        RGB,
    ),
    "grey with alpha": (lambda: encode(np.full((8, 12, 2), (90, 10), np.uint8), "PNG"), (90, 90, 90)),
    "transparent": (lambda: encode(np.full((8, 12, 4), (*RGB, 0), np.uint8), "PNG"), RGB),
    "16 bits": (lambda: cv2_encode(".png", np.full((8, 12), 0x81F0, np.uint16)), (0x81,) * 3),
    "16-bit tiff": (lambda: cv2_encode(".tiff", np.full((8, 12), 0x81F0, np.uint16)), (0x81,) * 3),
    "1 bit": (lambda: encode(Image.fromarray(np.full((8, 12), 255, np.uint8)).convert("1"), "PNG"), (255,) * 3),
    "tiff": (lambda: encode(FLAT, "TIFF"), RGB),
    "tiff of two pages": (lambda: encode(FLAT, "TIFF", **frames()), RGB),
    "animated gif": (lambda: encode(FLAT, "GIF", **frames()), RGB),
    "animated webp": (lambda: encode(FLAT, "WEBP", lossless=True, **frames()), RGB),
    "animated png": (lambda: encode(FLAT, "PNG", **frames()), RGB),
    "bmp": (lambda: encode(FLAT, "BMP"), RGB),
    "ppm": (lambda: encode(FLAT, "PPM"), RGB),
    "black": (lambda: encode(np.zeros_like(FLAT), "PNG"), (0, 0, 0)),
    "one pixel": (lambda: encode(FLAT[:1, :1], "PNG"), RGB),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file_gives_its_colour_in_bgr(kind: str, tmp_path: Path) -> None:
    make, (red, green, blue) = KINDS[kind]
    (tmp_path / "a").write_bytes(make())
    image = read_image(tmp_path / "a")
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert image.shape == ((1, 1, 3) if kind == "one pixel" else (8, 12, 3))
    assert np.abs(image.astype(int) - (blue, green, red)).max() <= (6 if "jpeg" in kind else 0)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_turns_the_image_upright(orientation: int, tmp_path: Path) -> None:
    upright = np.zeros((8, 16, 3), np.uint8)
    upright[:4, :8] = 255  # the upper left quarter is white
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x112] = orientation
    (tmp_path / "a.jpg").write_bytes(encode(np.ascontiguousarray(stored), "JPEG", quality=98, exif=exif))
    image = read_image(tmp_path / "a.jpg")
    assert image.shape == upright.shape
    assert np.abs(image.astype(int) - upright).max() < 40


def test_a_name_may_hold_any_letter(tmp_path: Path) -> None:
    path = tmp_path / "Größe 猫 [1].png"
    path.write_bytes(encode(FLAT, "PNG"))
    assert (read_image(path) == FLAT[..., ::-1]).all()
    assert (read_image(str(path)) == FLAT[..., ::-1]).all()


BROKEN: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "is empty"),
    "text": (lambda: b"hello world", "is not an image"),
    "html": (lambda: b"<!DOCTYPE html><html>404</html>", "is not an image"),
    "two bytes of a jpeg": (lambda: b"\xff\xd8", "is not an image"),
    "png of no pixels": (lambda: png(0, 5), "has no pixels"),
    "jpeg of no pixels": (lambda: b"\xff\xd8\xff\xc0\0\x11\x08\0\0\0\x05" + b"\xff\xd9", "has no pixels"),
    "png of too many pixels": (lambda: png(70_000, 70_000), "is too large"),
    "png that is too wide": (lambda: png(2_000_000, 1), "is too large"),
    "ppm of too many pixels": (lambda: b"P6\n70000 70000\n255\n", "is too large"),
    "ppm of no pixels": (lambda: b"P6\n0 0\n255\n", "has no pixels"),
    "png with a flipped bit": (lambda: png(4, 4, bytes(52)).replace(b"IDATx", b"IDATy"), "is damaged"),
    "png that begins with another chunk": (lambda: b"\x89PNG\r\n\x1a\n" + chunk(b"IEND", b""), "is damaged"),
    "jpeg without its end": (lambda: encode(NOISE, "JPEG")[:-2], "is truncated"),
    "jpeg whose end is zeros": (lambda: encode(NOISE, "JPEG")[:-40] + bytes(40), "is truncated"),
    "float tiff": (lambda: cv2_encode(".tiff", np.full((8, 8, 3), 0.5, np.float32)), "has float32 pixels"),
    "double tiff": (lambda: cv2_encode(".tiff", np.full((8, 8), 0.5, np.float64)), "has float64 pixels"),
    "int32 tiff": (lambda: encode(np.full((8, 8), 70_000, np.int32), "TIFF"), "has int32 pixels"),
    "radiance": (lambda: cv2_encode(".hdr", np.full((8, 8, 3), 0.5, np.float32)), "has float32 pixels"),
    "pfm": (lambda: cv2_encode(".pfm", np.full((8, 8, 3), 0.5, np.float32)), "has float32 pixels"),
    "openexr": (lambda: b"\x76\x2f\x31\x01" + bytes(100), "has floating-point pixels"),
    "16 bits, all below 256": (lambda: cv2_encode(".png", np.full((8, 8), 200, np.uint16)), "read as black"),
    "a video": (lambda: b"\0\0\0\x20ftypisom" + bytes(100), "is a video, not an image"),
    "a video of Matroska": (lambda: b"\x1a\x45\xdf\xa3" + bytes(100), "is a video, not an image"),
    "an AVI": (lambda: b"RIFF\0\0\0\0AVI LIST" + bytes(100), "is a video, not an image"),
    "an MPEG transport stream": (lambda: (b"\x47" + bytes(187)) * 4, "is a video, not an image"),
    "text of other letters": (
        lambda: "caf\u00e9 ".encode() * 300,
        "is not an image but text, which begins with 'caf\u00e9 caf\u00e9",
    ),
    "a page of the web": (
        lambda: b"\n<!DOCTYPE html>\n<html>",
        "text, which begins with '<!DOCTYPE html> <html>'. Download",
    ),
    "a pointer of Git LFS": (
        lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n",
        "pointer of Git LFS",
    ),
    "heic": (lambda: b"\0\0\0\x20ftypheic" + bytes(100), "is damaged, or an image format"),
}


def refusal(path: Path, capfd: pytest.CaptureFixture[str]) -> str:
    """The message, after checking that it is one line that names the file, and that nothing else was printed."""
    with pytest.raises(InputError) as caught:
        read_image(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert message.endswith(".")
    assert tuple(capfd.readouterr()) == ("", "")
    return message


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_is_refused_in_one_line_and_in_silence(
    kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    make, expected = BROKEN[kind]
    (tmp_path / "a.png").write_bytes(make())
    assert expected in refusal(tmp_path / "a.png", capfd)


CUT = {
    "jpeg": (lambda: encode(NOISE, "JPEG"), "is truncated"),
    "progressive jpeg": (lambda: encode(NOISE, "JPEG", progressive=True), "is truncated"),
    "jpeg with restart markers": (lambda: encode(NOISE, "JPEG", restart_marker_rows=1), "is truncated"),
    "png": (lambda: encode(NOISE, "PNG"), "is truncated"),
    "webp": (lambda: encode(NOISE, "WEBP"), "is truncated"),
    "gif": (lambda: encode(NOISE, "GIF"), "is damaged"),
    "bmp": (lambda: encode(NOISE, "BMP"), "is damaged"),
    "tiff": (lambda: encode(NOISE, "TIFF"), "is damaged"),
}


@pytest.mark.parametrize("share", [0.995, 0.9, 0.5, 0.1, 0.03])
@pytest.mark.parametrize("kind", CUT)
def test_a_file_that_was_cut_off_is_refused(
    kind: str, share: float, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    make, expected = CUT[kind]
    whole = make()
    path = tmp_path / "a.img"
    path.write_bytes(whole)
    assert read_image(path).shape == NOISE.shape
    path.write_bytes(whole[: int(len(whole) * share)])
    assert expected in refusal(path, capfd)


def test_a_jpeg_is_cut_off_wherever_it_is_cut(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    whole = encode(NOISE[:16, :16], "JPEG")
    for length in range(3, len(whole)):
        (tmp_path / "a.jpg").write_bytes(whole[:length])
        assert "is truncated" in refusal(tmp_path / "a.jpg", capfd), length


def test_names_that_lead_to_no_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="does not exist"):
        read_image(tmp_path / "nowhere.jpg")
    with pytest.raises(InputError, match="is a folder"):
        read_image(tmp_path)
    with pytest.raises(InputError, match="Not a directory"):
        read_image(tmp_path / "file" / "a.jpg")
    with pytest.raises(InputError, match="null byte"):
        read_image("a\0b.jpg")
    with pytest.raises(InputError, match="too long"):
        read_image("a" * 5000)


def test_the_log_level_of_opencv_is_put_back(tmp_path: Path) -> None:
    logging = getattr(cv2.utils, "logging", cv2)
    before = logging.getLogLevel()
    (tmp_path / "a.tif").write_bytes(b"II*\0" + bytes(20))
    with pytest.raises(InputError):
        read_image(tmp_path / "a.tif")
    assert logging.getLogLevel() == before > 0


def test_arrays() -> None:
    colour = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    assert (check_array(colour) == colour).all()
    grey = np.array([[1, 2], [3, 4]], np.uint8)
    assert check_array(grey).tolist() == [[[1, 1, 1], [2, 2, 2]], [[3, 3, 3], [4, 4, 4]]]
    view = check_array(colour[:, ::-1])
    assert view.flags.c_contiguous
    assert view[0, 0].tolist() == [9, 10, 11]


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("a.jpg", "not str"),
        (None, "not NoneType"),
        ([[1, 2], [3, 4]], "not list"),
        (np.zeros((4, 5, 3), np.float32), r"float32 \[4, 5, 3\].*must be uint8"),
        (np.zeros((4, 5), bool), "must be uint8"),
        (np.zeros((4, 5, 4), np.uint8), "Drop the alpha channel"),
        (np.zeros((3, 40, 50), np.uint8), "transpose"),
        (np.zeros((4, 5, 1), np.uint8), "Pass one image"),
        (np.zeros((1, 4, 5, 3), np.uint8), "Pass one image"),
        (np.zeros(5, np.uint8), "Pass one image"),
        (np.zeros((0, 5, 3), np.uint8), "no pixels"),
        (np.zeros((5, 0), np.uint8), "no pixels"),
    ],
)
def test_arrays_that_are_refused(image: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_array(image)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("b.JPG", "a.png", "notes.txt", ".hidden.jpg", "deep/c.jpg", "deep/er/d.webp", "empty/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        (["."], ["a.png", "b.JPG"]),
        (["notes.txt"], ["notes.txt"]),
        ([".hidden.jpg"], [".hidden.jpg"]),
        (["b.JPG", "."], ["b.JPG", "a.png"]),
        (["./a.png", "deep/../a.png", "a.png"], ["a.png"]),
        (["*"], ["a.png", "b.JPG"]),
        (["**"], ["a.png", "b.JPG", "deep/c.jpg", "deep/er/d.webp"]),
        (["**/*.jpg"], ["deep/c.jpg"]),
        (["deep"], ["deep/c.jpg"]),
        (["?.png", "deep/"], ["a.png", "deep/c.jpg"]),
        ([Path("deep")], ["deep/c.jpg"]),
        ("a.png", ["a.png"]),
        ([], []),
    ],
)
def test_files_folders_and_patterns(folder: Path, inputs: Any, expected: list[str]) -> None:
    assert [os.path.relpath(path) for path in find_images(inputs)] == expected


def test_a_name_with_brackets_is_a_name_first(folder: Path) -> None:
    (folder / "x[1].png").touch()
    (folder / "x1.png").touch()
    assert find_images(["x[1].png"]) == [Path("x[1].png")]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("nowhere.jpg", "nowhere.jpg does not exist"),
        ("", "an empty name, '', does not exist"),
        ("empty", r"folder empty contains no image.*'empty/\*\*/\*'"),
        ("*.tiff", r"pattern \*.tiff matches no image"),
        ("empty/*", "matches no image"),
        ("a\0b", "does not exist"),
        ("a" * 5000, "does not exist"),
    ],
)
def test_inputs_that_mean_no_image(folder: Path, given: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_images(["a.png", given])


def test_every_extension_is_one_that_a_folder_gives(tmp_path: Path) -> None:
    for extension in EXTENSIONS:
        (tmp_path / f"a{extension}").touch()
    assert {path.suffix for path in find_images([tmp_path])} == set(EXTENSIONS)


def test_reading_needs_nothing_but_numpy_and_opencv() -> None:
    code = (
        "import sys, boxcam.runtime.images, boxcam.runtime.preprocess, boxcam.explain.methods, boxcam.explain.render;"
        "bad = {'onnx', 'onnxruntime', 'torch', 'torchvision', 'mmdet', 'mmengine', 'mmcv', 'PIL'} & set(sys.modules);"
        "sys.exit(str(bad) if bad else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


HEADERS = (
    "{'descr': '|u1', 'shape': (",
    "{" * 4000,
    "{'descr': '|u1'}",
    "(",
    "1e9999",
    "{'descr': 'O', 'shape': (1,)}",
)


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("version", [1, 2, 3])
def test_an_array_whose_header_is_none(header: str, version: int, tmp_path: Path) -> None:
    length = struct.pack("<H" if version == 1 else "<I", len(header))
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY" + bytes((version, 0)) + length + header.encode() + bytes(64))
    with pytest.raises(InputError, match="cannot be read as an array of numpy") as caught:
        read_planes(tmp_path / "a.npy", 6)
    check_message(str(caught.value))


PLAIN_HEADER = "{'descr': '|u1', 'fortran_order': False, 'shape': (4, 5, 6), }"
ODD_HEADERS = (
    *("-" * 9000 + "1", "(" * 150, "1+" * 3000 + "1", "'''", "\0", "{[]: 1}", "[" * 9000, "{" * 9000, "lambda: 1"),
    PLAIN_HEADER.replace("'|u1'", "[('a', '|u1'), 1]"),
    PLAIN_HEADER.replace("'|u1'", "('|u1', (2,))"),
    PLAIN_HEADER.replace("'|u1'", "{'names': ['a'], 'formats': ['u1'], 'offsets': [-5]}"),
    PLAIN_HEADER.replace("'|u1'", "',,'"),
    PLAIN_HEADER.replace("'|u1'", "None"),
    PLAIN_HEADER.replace("'|u1'", "'u999999999'"),
    PLAIN_HEADER.replace("(4, 5, 6)", "(4, -5, 6)"),
    PLAIN_HEADER.replace("(4, 5, 6)", "(4, 5, True)"),
    PLAIN_HEADER.replace("(4, 5, 6)", "(4e1, 5, 6)"),
    PLAIN_HEADER.replace("(4, 5, 6)", "(4, 5, 99999999999999999999)"),
    PLAIN_HEADER.replace("(4, 5, 6)", "(4, 5, " + "9" * 5000 + ")"),
    PLAIN_HEADER.replace("(4, 5, 6)", "(999999999999999999, 999999999999999999, 6)"),
    PLAIN_HEADER.replace("(4, 5, 6)", "(4, 5, 7)"),
    PLAIN_HEADER.replace("False", "-" * 5000 + "1"),
    PLAIN_HEADER.replace("}", "'more': 1}"),
)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("header", ODD_HEADERS, ids=range(len(ODD_HEADERS)))
@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_header_that_is_no_literal_of_an_array_of_numbers(header: str, version: int, tmp_path: Path) -> None:
    length = struct.pack("<H" if version == 1 else "<I", len(header))
    (tmp_path / "a.jpg").write_bytes(b"\x93NUMPY" + bytes((version, 0)) + length + header.encode() + bytes(120))
    with pytest.raises(InputError, match=r"cannot be read as an array of numpy|is too large") as caught:
        read_planes(tmp_path / "a.jpg", 6)
    check_message(str(caught.value))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0), None])
def test_what_numpy_writes_is_read_as_it_is(order: Literal["C", "F"], version: Any, tmp_path: Path) -> None:
    array = np.asarray(np.arange(120, dtype=np.uint8).reshape(4, 5, 6), order=order)
    with open(tmp_path / "a.npy", "wb") as file:
        np.lib.format.write_array(file, array, version=version)
    assert (read_planes(tmp_path / "a.npy", 6) == array).all()
    for kind in ("<u2", ">i4", "<f4", "<c16", "?", "<U3", "<M8"):
        np.save(tmp_path / "b.npy", np.zeros((2, 3), kind))
        with pytest.raises(InputError, match=r"pixels must be uint8|cannot be read as an array of numpy"):
            read_planes(tmp_path / "b.npy", 3)
    other = "{ 'shape' : (4, 5, 6) ,\n 'fortran_order':True,\"descr\":'uint8' }\n".replace("uint8", "u1")
    data = b"\x93NUMPY\1\0" + struct.pack("<H", len(other)) + other.encode() + array.tobytes(order="F")
    (tmp_path / "c.npy").write_bytes(data)
    assert (read_planes(tmp_path / "c.npy", 6) == array).all()


def test_classes_of_arrays_are_read_as_plain_ones_and_masks_are_not() -> None:
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    with pytest.warns(PendingDeprecationWarning):
        matrix = np.matrix(grey)
    for channels in (1, 3):
        image = load_image(matrix, channels=channels)
        assert type(image) is np.ndarray
        assert (image == grey[..., None]).all()
        with pytest.raises(InputError, match=r"a mask cannot be used\. Pass it with what is masked filled"):
            load_image(np.ma.masked_less(grey, 3), channels=channels)
    with pytest.raises(InputError, match="a mask cannot be used"):
        load_image(np.ma.masked_less(np.zeros((3, 4, 6), np.uint8), 3), channels=6)


@pytest.mark.parametrize("kind", [b"pitm", b"ipma", b"ipco", b"irot", b"meta"])
@pytest.mark.parametrize("content", [b"", b"\0", b"\0\0\0\0\0\1", b"\1\0\0\1\xff\xff\xff\xff"])
def test_boxes_of_an_avif_that_stand_elsewhere_say_nothing(kind: bytes, content: bytes, tmp_path: Path) -> None:
    stream = io.BytesIO()
    Image.fromarray(FLAT).save(stream, "AVIF")
    box = struct.pack(">I", 8 + len(content)) + kind + content
    (tmp_path / "a.avif").write_bytes(stream.getvalue() + box)
    assert read_image(tmp_path / "a.avif").shape == FLAT.shape


def test_what_an_avif_says_of_its_orientation_ends_too_early() -> None:
    def box(kind: bytes, *content: bytes) -> bytes:
        return struct.pack(">I", 8 + sum(map(len, content))) + kind + b"".join(content)

    turn = box(b"ipco", box(b"irot", b"\1"))
    one = struct.pack(">IIHBB", 0, 1, 7, 1, 1)
    whole = box(b"meta", bytes(4), box(b"pitm", bytes(4), b"\0\7"), box(b"iprp", turn, box(b"ipma", one)))
    assert (avif.upright(FLAT, whole) == np.rot90(FLAT)).all()
    for cut in range(len(one)):
        short = box(b"meta", bytes(4), box(b"pitm", bytes(4), b"\0\7"), box(b"iprp", turn, box(b"ipma", one[:cut])))
        with pytest.raises(ValueError, match="a box ends too early"):
            avif.upright(FLAT, short)
    for cut in range(6):
        short = box(b"meta", bytes(4), box(b"pitm", bytes(cut)), box(b"iprp", turn, box(b"ipma", one)))
        with pytest.raises(ValueError, match="a box ends too early"):
            avif.upright(FLAT, short)


@pytest.mark.parametrize("broken", [b"Exif\0\0garbage", b"Exif\0\0II*\0", b"\xff" * 40, b"Exif\0\0MM\0*\0\0\0\x08\xff"])
def test_exif_data_of_pillow_that_cannot_be_read_is_said(broken: bytes) -> None:
    picture = Image.fromarray(FLAT)
    picture.info["exif"] = broken
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert load_image(picture).shape == FLAT.shape
    ours = [str(warning.message) for warning in caught if warning.category is BoxcamWarning]
    assert all("cannot be read" in text and "so whether it lies on its side is unknown" in text for text in ours)
    assert ours or broken != b"Exif\0\0garbage"


@pytest.mark.parametrize("error", [SyntaxError("broken"), struct.error("short"), IndexError("none"), EOFError()])
def test_whatever_a_decoder_of_pillow_stumbles_over(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = Image.fromarray(FLAT)

    def load() -> None:
        raise error

    monkeypatch.setattr(picture, "load", load)
    with pytest.raises(InputError, match="the image of Pillow cannot be read"):
        load_image(picture)
