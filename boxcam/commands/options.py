"""Options that several commands have, above all those that tell how an ONNX file is to be read."""

from __future__ import annotations

import contextlib
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
            type=click.Path(),
            metavar="FILE",
            help="ONNX files and torchvision: class names, one per line.",
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
def needs_exporter(arguments: tuple[str, ...], kind: str | None = None) -> Iterator[None]:
    """Say what is missing where exporting cannot be done, and which of boxcam's extras has it.

    Args:
        arguments: the model.
        kind: of its source, if the user gave it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        from boxcam.export import sources as _sources  # noqa: F401  (registers boxcam's own)
        from boxcam.export.source import PACKAGES, source_of

        source = source_of(arguments, kind)
        packages = PACKAGES if source is None else (*PACKAGES, *source.packages)
        missing = error.name.split(".")[0] if error.name else ""
        if missing in packages:
            extra = "export" if source is None else source.extra
            if (extra, missing) == ("onnx", "torch"):
                extra = "export"  # TorchScript gradients were asked for, which an ONNX file does not need
            raise BoxcamError(
                f"exporting needs {error.name}, which is not installed here. Install boxcam's {extra!r} extra as the"
                " README shows, or export on another machine and copy the bundle."
            ) from error
        raise
