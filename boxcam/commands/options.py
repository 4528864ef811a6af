"""Options of the command line that tell how an ONNX file is to be read."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import click

from boxcam.commands.headings import COMMON, Option

Command = TypeVar("Command", bound=Callable[..., Any])

BOX_FORMATS = ("xyxy", "yxyx", "cxcywh", "xywh")
BOX_SCALES = ("pixels", "normalized")
ACTIVATIONS = ("none", "sigmoid", "softmax")
BACKGROUNDS = ("none", "first", "last")
PRESETS = "imagenet, torchvision, yolo, paddle, tf"
"""The names of `boxcam.export.preprocessing.presets`, which explaining does not load."""
LAYOUTS = ("NCHW", "NHWC", "tokens")


def reading_options(size: click.ParamType[tuple[int, int]]) -> Callable[[Command], Command]:
    """Decorator: put the options on a command, which gets them under the names of `boxcam.export.source.Options`.

    Args:
        size: the type of ``HxW``.
    """
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
        detections("--box-format", type=click.Choice(BOX_FORMATS), help="Order of a box's numbers."),
        detections("--box-scale", type=click.Choice(BOX_SCALES), help="Pixels of the input, or 0 to 1."),
        detections(
            "--score-activation",
            type=click.Choice(ACTIVATIONS),
            help="What makes probabilities of the scores. [default: none if the graph ends with one]",
        ),
        detections(
            "--background", type=click.Choice(BACKGROUNDS), help="Which class stands for nothing. [default: none]"
        ),
        detections(
            "--decode",
            metavar="FILE.py:FUNCTION",
            help="Your own function from outputs to boxes and scores. It is run, so trust it.",
        ),
        layers("--layout", type=click.Choice(LAYOUTS), help="How it is laid out. [default: seen from the graph]"),
        layers("--tokens", type=size, help="The map that a sequence of tokens is. [default: a square]"),
    ]

    def put(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return put
