"""Which axes of a model's input are the images', the channels', the height and the width."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

from boxcam.errors import SourceError

Shape = Sequence[int | None]

_CHANNELS = {"ch", "channel", "channels", "chan", "chans", "color", "colors", "colour", "colours", "rgb", "bgr"}
_HEIGHT = {"h", "height", "rows", "ih"}
_WIDTH = {"w", "width", "cols", "columns", "iw"}
_LAYOUTS = ("NCHW", "NHWC")


@dataclass(frozen=True)
class Axes:
    """The axes of a model's input.

    Attributes:
        layout: which axis is which.
        channels: how many there are.
        batch: how many images it takes at once; None if any number.
    """

    layout: Literal["NCHW", "NHWC"]
    channels: int
    batch: int | None


def axes_of(shape: Shape | None, names: Sequence[str | None], layout: str | None, color: str | None) -> Axes:
    """The axes of an input.

    Args:
        shape: of the input, None for what is dynamic; None if not even the rank is known.
        names: what the file calls the axes, None where it has no name; empty if it names none.
        layout: what the user says.
        color: what the user says of the channels: ``GRAY`` is one of them.

    Raises:
        SourceError: it is no image, or it is not clear where its channels are.
    """
    if shape is None or len(shape) != 4:
        what = "has no known rank" if shape is None else f"is {dimensions(shape)}"
        raise SourceError(
            f"the model's input {what}, but an image is [1, 3, height, width] or [1, height, width, 3]. Export it"
            " with such an input."
        )
    chosen = layout or _by_three(shape) or _by_names(names) or _by_sizes(shape, names)
    channels = shape[1] if chosen == "NCHW" else shape[3]
    sides = shape[2:] if chosen == "NCHW" else shape[1:3]
    if layout is not None and channels is not None and channels > 4 and any(side in (1, 3, 4) for side in sides):
        raise SourceError(
            f"preprocess=: layout {layout} contradicts the model's input {dimensions(shape)}, which then has {channels}"
            " channels. Leave it out, or correct it."
        )
    if channels is None:
        channels = 1 if color == "GRAY" else 3
    return Axes(cast(Literal["NCHW", "NHWC"], chosen), channels, shape[0])


def _by_three(shape: Shape) -> str | None:
    """The layout that has three channels, if only one has."""
    if (shape[1] == 3) == (shape[3] == 3):
        return None
    return "NCHW" if shape[1] == 3 else "NHWC"


def _by_names(names: Sequence[str | None]) -> str | None:
    """The layout that the names of the axes tell: those of the channels, or of height and width."""
    if len(names) != 4:
        return None
    words = [set(_words(name)) for name in names]
    found = {
        layout
        for layout, channels, (height, width) in (("NCHW", 1, (2, 3)), ("NHWC", 3, (1, 2)))
        if words[channels] & _CHANNELS or (words[height] & _HEIGHT and words[width] & _WIDTH)
    }
    return found.pop() if len(found) == 1 else None


def _words(name: str | None) -> list[str]:
    """``imageHeight`` and ``image_height`` in words, in small letters, without numbers."""
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name or "")]


def _by_sizes(shape: Shape, names: Sequence[str | None]) -> str:
    """The layout that the sizes tell: there are fewer channels than rows and columns.

    Raises:
        SourceError: they do not.
    """
    ends = {"NCHW": shape[1], "NHWC": shape[3]}
    few = [layout for layout, channels in ends.items() if _is_few(channels, layout, shape)]
    open_ends = [layout for layout, channels in ends.items() if channels is None]
    if len(few) == 1:
        return few[0]
    if not few and len(open_ends) == 1 and all(size is None or size > 4 for size in shape[1:]):
        return open_ends[0]
    named = f" ({', '.join(name or '?' for name in names)})" if any(names) else ""
    raise SourceError(
        f"the model's input {dimensions(shape)}{named} does not tell which axis holds the colours. Pass"
        ' preprocess="layout=NCHW" or preprocess="layout=NHWC".'
    )


def _is_few(channels: int | None, layout: str, shape: Shape) -> bool:
    """Whether an axis has fewer elements than the sides that an image then has."""
    sides = shape[2:] if layout == "NCHW" else shape[1:3]
    return channels is not None and all(channels < side if side is not None else channels <= 16 for side in sides)


def dimensions(shape: Shape) -> str:
    """A shape for people."""
    return f"[{', '.join('?' if d is None else str(d) for d in shape)}]"
