"""How an image becomes the input: what the user says of it, what the file says, and what has to be asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir

from boxcam.errors import SourceError
from boxcam.export.graphs.query import static_shape
from boxcam.export.heads.convention import Convention
from boxcam.export.preprocessing import parse
from boxcam.export.preprocessing.guess import Guess
from boxcam.export.source import Request
from boxcam.export.sources.onnx.inputs import axis_names


def preprocessing_of(
    request: Request, metadata: Mapping[str, str], convention: Convention | None = None
) -> Sequence[str]:
    """What is said of the preprocessing: by the user, and where that is not all of it, by the file before.

    Args:
        request: what the user says; ``size=640x640``, say, is put over what the file says.
        metadata: what the file says of itself, as one of Ultralytics does.
        convention: how the model reports its detections, if that is known: Ultralytics stretches pictures for RT-DETR,
            which not every file names.
    """
    given = given_by(request)
    return given if given and parse.is_complete(given) else [*_of_file(metadata, convention), *given]


def given_by(request: Request) -> list[str]:
    """What the user says of the preprocessing."""
    return [request.preprocess] if isinstance(request.preprocess, str) else list(request.preprocess)


def _of_file(metadata: Mapping[str, str], convention: Convention | None) -> list[str]:
    if "stride" not in metadata or "names" not in metadata:
        return []
    if metadata.get("task") == "classify":
        return ["resize=cover", "scale=0-1", "color=RGB", "interpolation=area"]  # Pillow's bilinear averages
    named = f"{metadata.get('description', '')} {metadata.get('task', '')}".lower().replace("-", "")
    if convention is not None:  # RT-DETR's rows, or its table of them: those of YOLOs have corners
        queries = convention.kind == "queries" or (convention.kind == "selected" and convention.form == "cxcywh")
    else:
        queries = False
    return ["yolo", "resize=stretch"] if queries or "rtdetr" in named else ["yolo"]


def resize_of(request: Request, metadata: Mapping[str, str], convention: Convention | None = None) -> str | None:
    """How the image is resized by what is said; None if that is not said."""
    return parse.resize_of(preprocessing_of(request, metadata, convention))


def missing(image: ir.Value, said: Sequence[str], guessed: Guess | None, more: Sequence[str]) -> SourceError | None:
    """What to say as long as the preprocessing is not known; None if it is.

    Args:
        image: the model's input.
        said: what is said of it.
        guessed: a preset that fits the outputs, which a person has to check; None if there is none.
        more: what has to be said in addition to the preset.
    """
    channels = parse.channels_of(said, static_shape(image), axis_names(image))
    if parse.is_complete(said, channels):
        return None
    try:
        parse.parse(said, static_shape(image), image.dtype, None, axes=axis_names(image))
    except SourceError as error:
        if guessed is None:
            return error
        specs = [*guessed.specs, *more]
        line = f'preprocess="{specs[0]}"' if len(specs) == 1 else f"preprocess={specs}"
        return SourceError(f"{error} Probably {line} is right, as {guessed.why}.")
    raise AssertionError(f"nothing is missing in {said}")
