"""Options of the command line that tell how an ONNX file is to be read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

BOX_FORMATS = ("xyxy", "yxyx", "cxcywh", "xywh")
BOX_SCALES = ("pixels", "normalized")
ACTIVATIONS = ("none", "sigmoid", "softmax")
BACKGROUNDS = ("none", "first", "last")
LAYOUTS = ("NCHW", "NHWC", "tokens")


def reading_options(size: click.ParamType[tuple[int, int]]) -> Callable[[Command], Command]:
    """Decorator: put the options on a command, which gets them under the names of `boxcam.export.source.Options`.

    Args:
        size: the type of ``HxW``.
    """
    options = [
        click.option(
            "--preprocess",
            multiple=True,
            metavar="SPEC",
            help="ONNX files and classifiers: how an image becomes the input: a preset (yolo, imagenet, paddle, tf), a"
            " YAML file, or key=value; repeatable.",
        ),
        click.option("--scores", metavar="TENSOR", help="ONNX files: the scores. [default: found by the graph]"),
        click.option("--boxes", metavar="TENSOR", help="ONNX files: the boxes. [default: found by the graph]"),
        click.option("--labels", metavar="TENSOR", help="ONNX files: the class numbers. [default: found by the graph]"),
        click.option("--box-format", type=click.Choice(BOX_FORMATS), help="Order of a box's numbers."),
        click.option("--box-scale", type=click.Choice(BOX_SCALES), help="Pixels of the input, or 0 to 1."),
        click.option(
            "--score-activation",
            type=click.Choice(ACTIVATIONS),
            help="What makes probabilities of the scores. [default: none if the graph ends with one]",
        ),
        click.option(
            "--background", type=click.Choice(BACKGROUNDS), help="Which class stands for nothing. [default: none]"
        ),
        click.option(
            "--class-names",
            type=click.Path(),
            metavar="FILE",
            help="ONNX files and torchvision: class names, one a line.",
        ),
        click.option("--layout", type=click.Choice(LAYOUTS), help="Layout of a layer given by its tensor's name."),
        click.option("--tokens", type=size, help="The map that a sequence of tokens is. [default: a square]"),
        click.option(
            "--decode",
            metavar="FILE.py:FUNCTION",
            help="ONNX files: your own function from outputs to boxes and scores. It is run, so trust it.",
        ),
    ]

    def put(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return put
