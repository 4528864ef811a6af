"""Reading a bundle, strictly: what was altered, cut off or written by another version is refused."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import types
import typing
from pathlib import Path
from typing import Any, Literal, TypeVar

from boxcam.bundle import bounds
from boxcam.bundle.contents import check_contents, check_graphs
from boxcam.bundle.files import FORWARD, MANIFEST, seal
from boxcam.bundle.manifest import FORMAT_VERSION, Manifest
from boxcam.bundle.pointers import POINTER, is_pointer
from boxcam.errors import BundleError
from boxcam.filesystem import read_text
from boxcam.plurals import counted

T = TypeVar("T")


def read(path: str | os.PathLike[str]) -> Manifest:
    """Read and check a bundle: its version, its manifest, the hash of every file, and that there is no other file.

    Raises:
        BundleError: the bundle or a file of it is missing, altered, broken, not listed, a link, or of another version.
    """
    root = Path(path)
    if not os.path.exists(root):
        raise BundleError(f"bundle {root} does not exist. Make one with 'boxcam export'.")
    if not os.path.isdir(root):
        raise BundleError(f"{root} is not a bundle: a bundle is a folder. Make one with 'boxcam export'.")
    if os.path.islink(root / MANIFEST):
        raise BundleError(f"{root / MANIFEST} is a link, not a file. Copy the bundle again.")
    if is_pointer(root / MANIFEST):
        raise BundleError(f"{root / MANIFEST} {POINTER}")
    try:
        data = json.loads(read_text(root / MANIFEST, bounds.MAX_MANIFEST), parse_constant=_refuse)
    except FileNotFoundError:
        raise BundleError(f"{root} is not a bundle: it has no {MANIFEST}. Make one with 'boxcam export'.") from None
    except PermissionError as error:
        raise BundleError(f"{root / MANIFEST} cannot be read ({error.strerror}). Check its permissions.") from error
    except (OSError, ValueError, RecursionError) as error:
        said = error.strerror if isinstance(error, OSError) else error
        raise BundleError(f"{root / MANIFEST} cannot be read ({said}). Export the model again.") from error
    version = data.get("format") if isinstance(data, dict) else None
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise BundleError(f"{root / MANIFEST} does not state its format. Export the model again.")
    if version < FORMAT_VERSION:
        raise BundleError(
            f"bundle {root} has format {version}, which this boxcam no longer reads (it reads {FORMAT_VERSION})."
            " Export the model again."
        )
    if version > FORMAT_VERSION:
        raise BundleError(
            f"bundle {root} has format {version}, and this boxcam reads up to {FORMAT_VERSION}. Update boxcam"
            f" (the bundle was written by {data.get('boxcam', 'an unknown version')})."
        )
    try:
        manifest: Manifest = _decode(Manifest, data)
        bounds.check(manifest)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        said = str(error) if len(str(error)) < 500 else f"{str(error)[:500]} …"
        raise BundleError(f"{root / MANIFEST} is not a valid manifest: {said}. Export the model again.") from error
    gradients = [gradient for layer in manifest.layers for gradient in layer.gradients]
    told = manifest.candidates
    rest = [head.file for layer in manifest.layers for head in layer.heads]
    rest += [] if told is None else [told.opened, told.selection]
    for name in (FORWARD, *(name for gradient in gradients for name in gradient.files), *rest):
        if name not in manifest.files:
            raise BundleError(f"{root / MANIFEST} has no hash of {name}. Export the model again.")
    check_contents(root, manifest.files)
    by_onnx = [name for gradient in gradients if gradient.engine == "onnx" for name in gradient.files]
    check_graphs(root, (FORWARD, *by_onnx, *rest), manifest.files)
    if manifest.seal != seal(data):
        raise BundleError(
            f"{root / MANIFEST} was altered: its seal does not match. Copy the bundle again, or export the model again."
        )
    return manifest


def _refuse(constant: str) -> float:
    """NaN and infinities are no JSON, though Python reads them."""
    raise ValueError(f"{constant} is not a number")


def _decode(kind: Any, data: Any) -> Any:
    """Build ``kind`` out of plain JSON data, strictly: no unknown key, no missing key, no wrong type."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _decode_dataclass(typing.cast(type, kind), data)
    if origin is Literal:
        if data not in arguments:
            raise ValueError(f"{data!r} is none of {arguments}")
        return data
    if origin in (typing.Union, types.UnionType):
        if data is None and type(None) in arguments:
            return None
        return _decode(next(a for a in arguments if a is not type(None)), data)
    if origin is tuple:
        if not isinstance(data, list):
            raise TypeError(f"a list was expected, not {data!r}")
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return tuple(_decode(arguments[0], item) for item in data)
        if len(data) != len(arguments):
            raise ValueError(f"{counted(len(arguments), 'item')} should be there, not {data!r}")
        return tuple(_decode(argument, item) for argument, item in zip(arguments, data, strict=True))
    if origin is dict:
        if not isinstance(data, dict):
            raise TypeError(f"an object was expected, not {data!r}")
        return {str(key): _decode(arguments[1], value) for key, value in data.items()}
    if kind is float and isinstance(data, int) and not isinstance(data, bool):
        return float(data)
    if not isinstance(data, kind) or (kind is int and isinstance(data, bool)):
        raise TypeError(f"{kind.__name__} was expected, not {data!r}")
    return data


def _decode_dataclass(kind: type[T], data: Any) -> T:
    if not isinstance(data, dict):
        raise TypeError(f"{kind.__name__}: an object was expected, not {data!r}")
    hints = _hints(typing.cast(typing.Hashable, kind))
    fields = dataclasses.fields(kind)  # type: ignore[arg-type]
    unknown, names = set(data) - set(hints), {f.name for f in fields}
    required = {f.name for f in fields if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING}
    if unknown or not required <= set(data):
        raise ValueError(f"{kind.__name__}: unknown {sorted(unknown)}, missing {sorted(required - set(data))}")
    return kind(**{name: _decode(hints[name], data[name]) for name in names if name in data})


@functools.cache
def _hints(kind: type[Any]) -> dict[str, Any]:
    """The types of a dataclass's fields; the layers of a bundle are dozens of one class."""
    return typing.get_type_hints(kind)
