"""What is given as an image and is something else: an address, a video, text."""

from __future__ import annotations

import re

from boxcam.bundle.pointers import POINTER, begins_pointer

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_VIDEO_STARTS = (
    *(b"\x1a\x45\xdf\xa3", b"FLV\x01", b"OggS", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),  # Matroska, Flash, Ogg, ASF
    *(b"\0\0\x01\xba", b"\0\0\x01\xb3", b"DKIF"),  # MPEG streams, IVF
)
_VIDEO_BRANDS = (b"isom", b"iso2", b"iso4", b"iso5", b"iso6", b"mp4", b"avc1", b"qt  ", b"M4V", b"3gp", b"f4v")
"""Of the MP4 family, which AVIF and HEIC images belong to as well."""
VIDEO = "is a video, not an image. Save its frames as images first, as with ffmpeg."


def is_address(name: str) -> bool:
    """Whether a name is one of the network, such as ``https://…``."""
    return _ADDRESS.match(name) is not None


def is_video(data: bytes) -> bool:
    """Whether a file is a video of a common kind.

    Args:
        data: the file, or as much of its beginning as 377 bytes.
    """
    if data[4:8] == b"ftyp":
        return data[8:12].startswith(_VIDEO_BRANDS)
    if data[4:8] in (b"moov", b"mdat", b"wide"):  # QuickTime before it had brands
        return True
    if data.startswith(b"RIFF"):
        return data[8:12] == b"AVI "
    transport = len(data) > 376 and data[0] == data[188] == data[376] == 0x47
    return transport or data.startswith(_VIDEO_STARTS)


def what_else(data: bytes) -> str:
    """What a file is that is not an image, as the rest of a sentence that begins with its name."""
    if begins_pointer(data):
        return POINTER
    first = _text(data)
    if first is not None:
        return f"is not an image but text, which begins with {first!r}. Download or copy the image again."
    return "is not an image that OpenCV can read. Save it as PNG or JPEG."


def _text(data: bytes) -> str | None:
    """The first words of a file that is text."""
    try:
        text = data[:1024].decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if error.start < min(len(data), 1024) - 3:  # else a letter was cut
            return None
        text = data[: error.start].decode("utf-8-sig")
    words = " ".join(text.split())
    if not words or not all(letter.isprintable() for letter in words):
        return None
    return words[:30] + ("…" if len(words) > 30 else "")
