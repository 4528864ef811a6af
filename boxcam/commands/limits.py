"""What a run may take, as options of a command."""

from __future__ import annotations

import functools
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import click

from boxcam.budget import MAX_PIXELS, limits, size
from boxcam.commands.headings import Option
from boxcam.commands.options import Count
from boxcam.errors import ArgumentError

LIMITS = ("timeout", "max_memory", "max_pixels")
"""The names of the options."""
F = TypeVar("F", bound=Callable[..., Any])

_limit = partial(click.option, cls=Option, heading="What it may take")


class Seconds(click.ParamType[float]):
    """A time above 0."""

    name = "SECONDS"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            number = float(value)
        except ValueError:
            number = 0.0
        if not 0 < number < float("inf"):
            self.fail(f"{value!r} is not a number of seconds above 0.", param, ctx)
        return number


class Size(click.ParamType[int]):
    """Bytes, as ``4G`` or ``512M``."""

    name = "SIZE"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return self.name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return size(value)
        except ArgumentError:
            self.fail(f"{value!r} is not a size, such as 4G or 512M.", param, ctx)


def limited(command: F) -> F:
    """Decorator: give a command the options of `boxcam.limits`, which hold while it runs."""

    @functools.wraps(command)
    def run(*given: Any, timeout: float | None, max_memory: int | None, max_pixels: int, **options: Any) -> Any:
        with limits(timeout=timeout, max_memory=max_memory, max_pixels=max_pixels):
            return command(*given, **options)

    options = [
        _limit(
            "--timeout",
            type=Seconds(),
            metavar="SECONDS",
            help="Longest time that it may take. [default: no limit]",
        ),
        _limit(
            "--max-memory",
            type=Size(),
            help="Most memory that it may take, such as 4G; on Linux. [default: no limit]",
        ),
        _limit(
            "--max-pixels",
            type=Count(1),
            default=MAX_PIXELS,
            show_default=True,
            metavar="N",
            help="Most pixels that an image may have, height times width.",
        ),
    ]
    for option in reversed(options):
        option(run)
    return run  # type: ignore[return-value]
