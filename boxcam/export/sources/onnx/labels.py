"""Names of the classes that an ONNX file reports."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from boxcam.bundle import MAX_LABELS
from boxcam.errors import SourceError
from boxcam.export.heads.convention import Convention
from boxcam.export.heads.conventions.question import void_of
from boxcam.export.sources import class_names
from boxcam.export.sources.onnx import inputs as onnx_inputs
from boxcam.plurals import counted, verb


def named(given: str | os.PathLike[str] | Sequence[str] | None, metadata: Mapping[str, str]) -> tuple[str, ...]:
    """Class names: from a file, as given, or as Ultralytics writes them into a model; empty if there are none."""
    if given is not None:
        return class_names.read(given)
    found = onnx_inputs.literal(metadata.get("names", "None"))
    if isinstance(found, dict) and found and all(isinstance(key, int) for key in found):
        if not 0 <= max(found) < MAX_LABELS:
            raise SourceError(
                f"the file names a class of the number {max(found)}, and there can be {MAX_LABELS}. Pass the names with"
                " class_names=."
            )
        return class_names.checked(tuple(str(found.get(n, f"class {n}")) for n in range(max(found) + 1)))
    return class_names.checked(tuple(map(str, found))) if isinstance(found, (list, tuple)) else ()


def completed(convention: Convention, named: tuple[str, ...]) -> tuple[str, ...]:
    """Names for all classes that the model reports."""
    if convention.labels is not None:
        return named
    count = convention.sizes[1] - (convention.background != "none")
    if len(named) == count + 1 and convention.background == void_of(named):  # it is among them
        named = named[1:] if convention.background == "first" else named[:-1]
    if named and len(named) != count:
        raise SourceError(
            f"there {verb(len(named), 'is', 'are')} {counted(len(named), 'class name')}, and the model"
            f" ({convention.scores}) has {counted(count, 'class', 'classes')}. Pass one name for each with"
            " class_names=."
        )
    return named or tuple(f"class {index}" for index in range(count))
