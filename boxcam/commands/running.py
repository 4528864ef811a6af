"""What a bundle runs on, as options of a command, and the model that is opened with them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, TypeVar

import click

import boxcam
from boxcam.commands.headings import Option
from boxcam.commands.options import Count, Name
from boxcam.errors import BundleError
from boxcam.runtime.engines import ENGINES
from boxcam.runtime.sessions import DEVICES, MOST_THREADS, OTHER_DEVICES

Opener = Callable[[str, Sequence[str]], boxcam.Model]
"""Opens the bundle of this name, which stands before these inputs on the line."""
F = TypeVar("F", bound=Callable[..., Any])

_device = partial(click.option, cls=Option, heading="What it runs on")


def _methods() -> Collection[str]:
    """The methods, imported when they are needed."""
    from boxcam.explain.methods import METHODS

    return METHODS


METHOD = Name("method", _methods)
"""The name of a CAM method."""

with_engine = _device(
    "--engine",
    type=Name("engine", lambda: ("auto", *ENGINES)),
    default="auto",
    show_default=True,
    help="Gradient engine. auto: never torchscript, which runs code out of the bundle.",
)
"""Decorator: give a command the option ``--engine``."""


def with_model(command: F) -> F:
    """Decorator: give a command the options that tell what it runs on; it gets them as an `Opener`, ``load``."""

    @functools.wraps(command)
    def run(*given: Any, device: str, providers: tuple[str, ...], threads: int, **options: Any) -> Any:
        return command(*given, load=partial(_load, device=device, providers=providers, threads=threads), **options)

    options = [
        _device(
            "--device",
            type=Name("device", lambda: DEVICES, OTHER_DEVICES),
            default="cpu",
            show_default=True,
            help="What runs model and gradient.",
        ),
        _device(
            "--provider",
            "providers",
            multiple=True,
            metavar="NAME",
            help="ONNX Runtime's execution provider to use instead of the device's; repeatable, the preferred one"
            " first.",
        ),
        _device("--threads", type=Count(0, MOST_THREADS), default=0, help="CPU threads. [default: all cores]"),
    ]
    for option in reversed(options):
        option(run)
    return run  # type: ignore[return-value]


def _load(bundle: str, inputs: Sequence[str], **running: Any) -> boxcam.Model:
    """The model; a bundle that stands among the images is told from one that is not there."""
    try:
        return boxcam.load(bundle, **running)
    except BundleError:
        from boxcam.inspection import check_order

        check_order(bundle, inputs)
        raise
