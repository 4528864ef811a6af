"""Options that several commands have, above all those that tell how an ONNX file is to be read."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from boxcam.commands.headings import COMMON, Option
from boxcam.errors import BoxcamError, UnknownNameError

Command = TypeVar("Command", bound=Callable[..., Any])

BOX_FORMATS = ("xyxy", "yxyx", "cxcywh", "xywh")
BOX_SCALES = ("pixels", "normalized")
ACTIVATIONS = ("none", "sigmoid", "softmax")
BACKGROUNDS = ("none", "first", "last")
PRESETS = "imagenet, torchvision, yolo, paddle, tf"
"""The names of `boxcam.export.preprocessing.presets`, which explaining does not load."""
LAYOUTS = ("NCHW", "NHWC", "tokens")
LARGEST = 16384
"""Pixels of a side of a model's input."""
EXPORTERS = ("onnx", "onnx_ir", "onnxruntime", "onnxscript", "torch", "torchvision", "yaml")
"""Packages that exporting imports."""

common = partial(click.option, cls=Option, heading=COMMON)


class Name(click.ParamType[str]):
    """A name out of a list; a wrong one is answered by those that are close to it.

    Args:
        kind: what it names, in the singular: ``method``.
        known: gives the names that there are, when they are needed.
        others: what people call them elsewhere, and which name of ours that is.
    """

    name = "name"

    def __init__(self, kind: str, known: Callable[[], Iterable[str]], others: Mapping[str, str] | None = None) -> None:
        self.kind, self.known, self.others = kind, known, others

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return f"[{'|'.join(self.known())}]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        known = tuple(self.known())
        if value not in known:
            self.fail(str(UnknownNameError.of(self.kind, value, known, self.others)), param, ctx)
        return str(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(one) for one in self.known() if one.startswith(incomplete)]


class Shape(click.ParamType[tuple[int, int]]):
    """``HxW``: a height and a width in pixels."""

    name = "HxW"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return self.name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        parts = str(value).lower().split("x")
        if len(parts) != 2 or not all(part.isdecimal() and 0 < int(part) <= LARGEST for part in parts):
            self.fail(f"{value!r} is not a height and a width, up to {LARGEST}, such as 800x1344.", param, ctx)
        return int(parts[0]), int(parts[1])


def reading_options() -> Callable[[Command], Command]:
    """Decorator: put the options on a command, which gets them under the names of `boxcam.export.source.Options`."""
    detections = partial(
        click.option, cls=Option, heading="Detections of an ONNX file (what is not found by the graph)"
    )
    layers = partial(click.option, cls=Option, heading="A layer given by its tensor's name")
    options = [
        click.option(
            "--preprocess",
            cls=Option,
            heading=COMMON,
            multiple=True,
            metavar="SPEC",
            help=f"ONNX files and classifiers: how an image becomes the input: a preset ({PRESETS}), a YAML file, or"
            " key=value; repeatable.",
        ),
        click.option(
            "--class-names",
            cls=Option,
            heading=COMMON,
            type=click.Path(),
            metavar="FILE",
            help="ONNX files and torchvision: class names, one a line.",
        ),
        detections("--scores", metavar="TENSOR", help="The scores."),
        detections("--boxes", metavar="TENSOR", help="The boxes."),
        detections("--labels", metavar="TENSOR", help="The class numbers."),
        detections("--box-format", type=Name("box format", lambda: BOX_FORMATS), help="Order of a box's numbers."),
        detections("--box-scale", type=Name("box scale", lambda: BOX_SCALES), help="Pixels of the input, or 0 to 1."),
        detections(
            "--score-activation",
            type=Name("activation", lambda: ACTIVATIONS),
            help="What makes probabilities of the scores. [default: none if the graph ends with one]",
        ),
        detections(
            "--background",
            type=Name("place", lambda: BACKGROUNDS),
            help="Which class stands for nothing. [default: none]",
        ),
        detections(
            "--decode",
            metavar="FILE.py:FUNCTION",
            help="Your own function from outputs to boxes and scores. It is run, so trust it.",
        ),
        layers(
            "--layout", type=Name("layout", lambda: LAYOUTS), help="How it is laid out. [default: seen from the graph]"
        ),
        layers("--tokens", type=Shape(), help="The map that a sequence of tokens is. [default: a square]"),
    ]

    def put(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return put


@contextlib.contextmanager
def needs_exporter(extra: str) -> Iterator[None]:
    """Say what is missing where exporting cannot be done, and which of boxcam's extras has it."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name and error.name.split(".")[0] in EXPORTERS:
            raise BoxcamError(
                f"exporting needs {error.name}, which is not installed here. Install boxcam's {extra!r} extra as the"
                " README shows, or export on another machine and copy the bundle."
            ) from error
        raise
