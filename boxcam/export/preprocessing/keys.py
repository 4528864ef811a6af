"""The keys of a preprocessing, one function for each: a value as it was written to what is used.

Values come from the command line, as text, or from YAML and JSON, as they are. The text of a ValueError is what was
expected.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from boxcam.runtime.preprocess import INTERPOLATIONS


def _choice(*names: str, **others: str) -> Callable[[Any], str]:
    known = {name.lower(): name for name in names} | others

    def choose(value: Any) -> str:
        if str(value).lower() not in known:
            raise ValueError(" or ".join(names))
        return known[str(value).lower()]

    return choose


def _each(value: Any) -> tuple[float, ...]:
    """One number for each channel; a single one as for three, which are the most frequent."""
    numbers = _numbers(value)
    return tuple(numbers * 3 if len(numbers) == 1 else numbers)


def _positive(value: Any) -> tuple[float, ...]:
    numbers = _each(value)
    if min(numbers) <= 0:
        raise ValueError("a number above 0")
    return numbers


def _padding(value: Any) -> tuple[float, ...] | str:
    return "mean" if value == "mean" else _each(value)


def _edges(value: Any) -> tuple[int, int]:
    numbers = _numbers(value.lower().replace("x", ",") if isinstance(value, str) else value)
    if len(numbers) not in (1, 2) or any(number < 1 or number != int(number) for number in numbers):
        raise ValueError("HEIGHTxWIDTH, such as 640x640,")
    return int(numbers[0]), int(numbers[-1])


def _count(value: Any) -> int:
    numbers = _numbers(value)
    if len(numbers) != 1 or numbers[0] < 1 or numbers[0] != int(numbers[0]):
        raise ValueError("a whole number above 0")
    return int(numbers[0])


def _share(value: Any) -> float:
    numbers = _numbers(value)
    if len(numbers) != 1 or not 0 < numbers[0] <= 1:
        raise ValueError("a number above 0, up to 1,")
    return numbers[0]


def _numbers(value: Any) -> list[float]:
    parts: Iterable[Any] = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else [value]
    try:
        numbers = [float("nan" if isinstance(part, bool) else part) for part in parts]
    except (TypeError, ValueError, OverflowError):
        raise ValueError("a number") from None
    if not all(math.isfinite(number) for number in numbers):
        raise ValueError("a number")
    return numbers


KEYS: dict[str, Callable[[Any], Any]] = {
    "size": _edges,
    "resize": _choice("fit", "stretch", "cover", "none", letterbox="fit"),
    "fit": _edges,
    "multiple": _count,
    "crop_pct": _share,
    "rounding": _choice("nearest", "half-even", "down"),
    "pad": _choice("center", "top-left", centre="center"),
    "pad_value": _padding,
    "scale": _choice("0-1", "0-255"),
    "mean": _each,
    "std": _positive,
    "color": _choice("RGB", "BGR", "GRAY", grey="GRAY", grayscale="GRAY"),
    "layout": _choice("NCHW", "NHWC"),
    "interpolation": _choice(
        "bilinear",
        *(name for name in INTERPOLATIONS if name != "bilinear"),
        "antialias",
        **dict.fromkeys(("antialias", "area or bilinear"), "area or bilinear"),
    ),
}
"""What can be said, and how it is read."""
