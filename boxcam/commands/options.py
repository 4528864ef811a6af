"""Options that several commands have, above all those that tell how an ONNX file is to be read."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
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
LAYOUTS = ("NCHW", "NHWC", "tokens")
LARGEST = 16384
"""Pixels of a side of a model's input."""
PATH = click.Path(readable=False)
"""A file or a folder: what cannot be read or written is said by who tries, with what to do about it."""
common = partial(click.option, cls=Option, heading=COMMON)


class Name(click.ParamType[str]):
    """A name out of a collection; a wrong one is answered by those that are close to it.

    Args:
        kind: what it names, in the singular: ``method``.
        known: gives the names that there are, when they are needed; a registry looks for those of plug-ins only when a
            name is not one of boxcam's own.
        others: what people call them elsewhere, and which name of ours that is.
        more: other words that are allowed.
    """

    name = "name"

    def __init__(
        self,
        kind: str,
        known: Callable[[], Collection[str]],
        others: Mapping[str, str] | None = None,
        more: Sequence[str] = (),
    ) -> None:
        self.kind, self.known, self.others, self.more = kind, known, others, more

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return f"[{'|'.join((*self.known(), *self.more))}]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        known = self.known()
        if value not in self.more and value not in known:
            self.fail(str(UnknownNameError.of(self.kind, value, (*known, *self.more), self.others)), param, ctx)
        return str(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(one) for one in (*self.known(), *self.more) if one.startswith(incomplete)]


class Share(click.ParamType[float]):
    """A number from 0 to 1."""

    name = "0..1"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return self.name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            number = float(value)
        except ValueError:
            self.fail(f"{value!r} is not a number from 0 to 1.", param, ctx)
        if not 0 <= number <= 1:
            self.fail(f"{value} is not between 0 and 1.", param, ctx)
        return number


class Count(click.ParamType[int]):
    """A whole number.

    Args:
        least: the lowest one.
        most: the largest one, if there is a limit.
    """

    name = "number"

    def __init__(self, least: int, most: int | None = None) -> None:
        self.least, self.most = least, most

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return "N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            number = int(value)
        except ValueError:
            self.fail(f"{value!r} is not a whole number.", param, ctx)
        if number < self.least:
            self.fail(f"{value} is too low: it must be at least {self.least}.", param, ctx)
        if self.most is not None and number > self.most:
            self.fail(f"{value} is too high: it must be at most {self.most}.", param, ctx)
        return number


class Box(click.ParamType[tuple[float, float, float, float]]):
    """``X1,Y1,X2,Y2``: a part of an image, in its pixels."""

    name = "X1,Y1,X2,Y2"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return self.name

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, float, float, float]:
        if isinstance(value, tuple):
            return value
        try:
            x1, y1, x2, y2 = (float(part) for part in str(value).split(","))
            finite = all(map(math.isfinite, (x1, y1, x2, y2)))
        except ValueError:
            finite = False
        if not finite:
            self.fail(f"{value!r} is not four numbers, such as 10,20,50,80.", param, ctx)
        if not (x1 < x2 and y1 < y2):
            self.fail(f"{value!r} has no area: X2 must be above X1, and Y2 above Y1.", param, ctx)
        return x1, y1, x2, y2


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
    detections = partial(click.option, cls=Option, heading="Detections of an ONNX file (if not recognised)")
    layers = partial(click.option, cls=Option, heading="A layer given by its tensor's name")
    options = [
        click.option(
            "--preprocess",
            cls=Option,
            heading=COMMON,
            multiple=True,
            metavar="SPEC",
            fill=_presets,
            help="ONNX files and classifiers: how an image becomes the input: a preset ({}), a YAML file, or key=value;"
            " repeatable.",
        ),
        click.option(
            "--class-names",
            cls=Option,
            heading=COMMON,
            type=PATH,
            metavar="FILE",
            help="ONNX files and torchvision: class names, one per line.",
        ),
        click.option(
            "--input",
            "inputs",
            cls=Option,
            heading="Inputs of an ONNX file in addition to the image",
            multiple=True,
            metavar="NAME=VALUE",
            help="Fix the input NAME: a number, as many as it has elements (640,480), or the file of an array"
            " (NAME=FILE.npy); repeatable.",
        ),
        detections("--scores", metavar="TENSOR", help="Tensor of the scores."),
        detections("--boxes", metavar="TENSOR", help="Tensor of the boxes."),
        detections("--labels", metavar="TENSOR", help="Tensor of the class indices."),
        detections("--box-format", type=Name("box format", lambda: BOX_FORMATS), help="Order of a box's coordinates."),
        detections(
            "--box-scale", type=Name("box scale", lambda: BOX_SCALES), help="Pixels of the model input, or 0 to 1."
        ),
        detections(
            "--score-activation",
            type=Name("activation", lambda: ACTIVATIONS),
            help="Activation that turns scores into probabilities. [default: none if the graph ends with one]",
        ),
        detections(
            "--background",
            type=Name("place", lambda: BACKGROUNDS),
            help="Position of the background class. [default: none]",
        ),
        detections(
            "--convention",
            metavar="NAME",
            help="Layout of the outputs, where several fit: its name in the documentation, such as yolov5.",
        ),
        detections(
            "--columns",
            metavar="NAME,…",
            help="Columns of a table of detections: score, class, x1, y1, x2, y2 (or cx, cy, w, h), image, skip.",
        ),
        detections(
            "--decode",
            metavar="FILE.py:FUNCTION",
            help="Your own function from outputs to boxes and scores. It is executed: use only code that you trust.",
        ),
        layers(
            "--layout",
            type=Name("layout", lambda: LAYOUTS),
            help="Its memory layout. [default: recognised from the graph]",
        ),
        layers("--tokens", type=Shape(), help="Grid of a sequence of tokens. [default: a square]"),
    ]

    def put(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return put


def accept_option() -> Callable[[Command], Command]:
    """Decorator: the criteria that the user overrules."""
    return click.option(
        "--accept",
        multiple=True,
        metavar="NAME",
        help="Go on though this criterion speaks against how the model was read; repeatable. Messages give the name.",
    )


def _presets() -> str:
    """The names of presets, which nobody but exporters loads."""
    from boxcam.export.preprocessing.presets import PRESETS

    return ", ".join(PRESETS)


@contextlib.contextmanager
def needs_exporter(arguments: tuple[str, ...], kind: str | None = None, what: str = "exporting") -> Iterator[None]:
    """Say what is missing where exporting cannot be done, and which of boxcam's extras has it.

    Args:
        arguments: the model.
        kind: of its source, if the user gave it.
        what: what is done.

    Raises:
        BoxcamError: a package is missing, or a file of the model, which is said first.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        from boxcam.export import sources as _sources  # noqa: F401  (registers boxcam's own)
        from boxcam.export.source import PACKAGES, how_to_install, source_of

        source = source_of(arguments, kind)
        packages = PACKAGES if source is None else (*PACKAGES, *source.packages)
        missing = error.name.split(".")[0] if error.name else ""
        if missing in packages:
            if source is not None and (absent := source.absent(arguments)):
                raise BoxcamError(f"{absent[0]} does not exist. Check the path.") from error
            # An ONNX file needs PyTorch only for TorchScript gradients that were asked for.
            plain = source is None or (source.extra, missing) == ("onnx", "torch")
            install = how_to_install("export") if plain or source is None else source.how_to_install
            raise BoxcamError(
                f"{what} needs {error.name}, which is not installed here. {install} Or export on another machine, and"
                " copy the bundle."
            ) from error
        raise
