"""The bundle: a directory that holds everything `boxcam explain` needs, and a manifest that describes it.

``boxcam export`` writes it and ``boxcam.load`` reads it; this file is all that both sides know of each other.
The manifest is JSON; its schema is the dataclasses below.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import tempfile
import types
import typing
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from boxcam.errors import BundleError, OutputError, UnknownNameError

FORMAT_VERSION = 3
MANIFEST = "manifest.json"
FORWARD = "forward.onnx"

Form = Literal["windows", "rows", "whole"]
Rules = Literal["plain", "guided"]
TARGETS = ("logit", "score", "x1", "y1", "x2", "y2")
"""What of a box can be explained: the logit of its class, its score as it is reported, a side in canvas pixels."""
T = TypeVar("T")


@dataclass(frozen=True)
class Preprocess:
    """How an image becomes the model's input: resize, then pad or cut, normalise.

    Attributes:
        height, width: the canvas, in pixels: the model's input; the largest one, if ``multiple`` is set.
        fit_height, fit_width: what the image is resized to. For ``fit`` and ``stretch`` no larger than the canvas, the
            rest is padded; for ``cover`` no smaller than it, the rest is cut off.
        resize: ``fit`` resizes both axes by one factor, so that the image lies inside the fit size; ``stretch`` to
            exactly the fit size; ``cover`` by one factor, so that the image covers the fit size (a square one: its
            shorter side is as long), and the canvas is the middle of it; ``none`` leaves it as it is.
        pad_to: where the image lies on the canvas; for ``cover`` in the centre.
        pad_value: one value per channel, in the order of the model's input.
        pad_before_normalize: ``pad_value`` is in 0..255 and is normalised too; otherwise it is put in afterwards.
        mean, std: per channel, in the order of the model's input, for pixels in 0..255: ``(pixel - mean) / std``.
        color: channel order of the model's input.
        interpolation: of the resize; ``area or bilinear`` is area along what becomes smaller, bilinear along what
            becomes larger; the others are OpenCV's, whatever the size.
        layout: of the model's input: [1, 3, height, width] or [1, height, width, 3].
        dtype: of the model's input. ``uint8`` is the pixels themselves: mean 0, std 1.
        rounding: of the sizes of ``fit``, to the nearest or down, from a factor in double precision.
        multiple: 0 for a canvas that is the same for all images. Otherwise each has its own, whose sides are those of
            the resized image, rounded up to a multiple of this; for ``fit`` the longer side of the fit size is then
            for the image's longer side (as in ``mmcv.imrescale``), and with ``none`` there is no largest canvas.
    """

    height: int
    width: int
    fit_height: int
    fit_width: int
    resize: Literal["fit", "stretch", "cover", "none"]
    pad_to: Literal["top-left", "center"]
    pad_value: tuple[float, float, float]
    pad_before_normalize: bool
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    color: Literal["RGB", "BGR"]
    interpolation: Literal["bilinear", "nearest", "area", "bicubic", "area or bilinear"] = "bilinear"
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    dtype: Literal["float32", "float16", "uint8"] = "float32"
    rounding: Literal["nearest", "down"] = "nearest"
    multiple: int = 0

    def __post_init__(self) -> None:
        fit, canvas = f"{self.fit_height}x{self.fit_width}", f"{self.height}x{self.width}"
        if min(self.height, self.width, self.fit_height, self.fit_width) < 1:
            raise ValueError(f"preprocess: sizes must be positive: {self}")
        if self.multiple < 0 or ((self.multiple > 0) != (self.resize == "none") and self.resize != "fit"):
            raise ValueError(f"preprocess: resize {self.resize} cannot go with a multiple of {self.multiple}")
        if self.resize == "cover":
            if self.fit_height < self.height or self.fit_width < self.width:
                raise ValueError(f"preprocess: {fit} does not cover {canvas}")
            if self.pad_to != "center":
                raise ValueError("preprocess: what covers the canvas is cut out of the middle: pad_to center")
        elif self.fit_height > self.height or self.fit_width > self.width:
            raise ValueError(f"preprocess: {fit} exceeds {canvas}")
        if min(self.std) <= 0:
            raise ValueError(f"preprocess: std must be positive, not {self.std}")
        if self.dtype == "uint8":
            if any(self.mean) or set(self.std) != {1.0}:
                raise ValueError(f"preprocess: uint8 is not normalised: mean {self.mean}, std {self.std}")
            if any(not 0 <= value <= 255 or value != int(value) for value in self.pad_value):
                raise ValueError(f"preprocess: pad_value of uint8 must be 0 to 255, whole, not {self.pad_value}")

    @property
    def shape(self) -> tuple[int, int | None, int | None, int | None]:
        """Of the model's input; None for height and width if each image has its own."""
        height, width = (None, None) if self.multiple else (self.height, self.width)
        return (1, 3, height, width) if self.layout == "NCHW" else (1, height, width, 3)


@dataclass(frozen=True)
class Outputs:
    """Which outputs of ``forward.onnx`` hold the detections.

    ``boxes`` and ``scores`` may share one output: ``box_columns`` and ``score_column`` index its last axis.
    ``origin`` and ``logits`` are the names of the target ``logit``, see `Target`.
    ``whole_image``: each box is the whole image, for one of its classes: the model is a classifier.
    """

    boxes: str
    scores: str
    labels: str
    box_columns: tuple[int, int] | None = None
    score_column: int | None = None
    origin: str = "origin"
    logits: str = "logit"
    whole_image: bool = False


@dataclass(frozen=True)
class Tensor:
    """One feature map of a layer.

    Attributes:
        name: its name in the graph, which is also the name of the output of ``forward.onnx``.
        channels: number of channels.
        height, width: in cells; None if each image has its own.
        stride: canvas pixels per cell, down and across; None for RoI features.
        receptive_field: how many cells (of this tensor, across) one logit depends on; None if it is the whole map.
        center: canvas position of the centre of cell (0, 0), y and x: what the cell looks at; None for RoI features.
        rois: the output with the proposals of RoI features, float32 [R, 4], x1 y1 x2 y2 on the canvas; None for maps.
    """

    name: str
    channels: int
    height: int | None
    width: int | None
    stride: tuple[float, float] | None
    receptive_field: int | None = None
    center: tuple[float, float] | None = None
    rois: str | None = None


@dataclass(frozen=True)
class Gradient:
    """How the gradient of one target with respect to a layer is computed, by one engine.

    Attributes:
        engine: ``onnx`` or ``torchscript``.
        target: name of the target.
        rules: ``guided`` for guided backpropagation, which is no gradient but a variant of one.
        file: relative to the bundle.
        form: windows, RoI rows or whole maps.
        reason: why this form and not a cheaper one; empty when there is none.
        context: outputs of ``forward.onnx`` that it reads beside the layer's tensors (saved activations, proposals).
        boxes_at_once: how many boxes fit into the memory that is meant for them.
        means: a file that gives only the mean of each channel's gradient, which is cheaper and all that some methods
            need; empty if there is none.
    """

    engine: str
    target: str
    rules: Rules
    file: str
    form: Form
    reason: str
    context: tuple[str, ...]
    boxes_at_once: int
    means: str = ""

    @property
    def files(self) -> tuple[str, ...]:
        """All files of it."""
        return (self.file, self.means) if self.means else (self.file,)


@dataclass(frozen=True)
class Layer:
    """A named group of feature maps that can be explained.

    Attributes:
        name: ``backbone``, ``neck``, ``roi``, ``image``, or the tensor's name.
        kind: ``map`` for maps of the whole image, ``roi`` for one small map per proposal.
        tensors: the feature maps.
        gradients: how they are computed: for each target one or more, the preferred engine first.
    """

    name: str
    kind: Literal["map", "roi"]
    tensors: tuple[Tensor, ...]
    gradients: tuple[Gradient, ...]

    @property
    def rois(self) -> tuple[str, ...]:
        """Outputs with the proposals of its tensors."""
        return tuple(dict.fromkeys(tensor.rois for tensor in self.tensors if tensor.rois is not None))

    @property
    def engines(self) -> tuple[str, ...]:
        """Names of the engines that it has a gradient for."""
        return tuple(dict.fromkeys(gradient.engine for gradient in self.gradients))

    def gradient(self, engine: str, target: str = "logit", rules: Rules = "plain") -> Gradient | None:
        """The gradient of a target by an engine, if there is one."""
        wanted = engine, target, rules
        return next((g for g in self.gradients if (g.engine, g.target, g.rules) == wanted), None)


@dataclass(frozen=True)
class Logits:
    """One tensor of numbers that targets are taken from.

    Attributes:
        name: in the graph.
        shape: of it.
        activation: between a class logit and the score: ``Sigmoid``, ``Softmax``, …; ``Identity`` for other targets.
    """

    name: str
    shape: tuple[int | None, ...]
    activation: str


@dataclass(frozen=True)
class Target:
    """The number of a box that is differentiated.

    Attributes:
        name: ``logit``, ``score``, ``x1``, ``y1``, ``x2`` or ``y2``.
        origin: output of ``forward.onnx``, int64 [K, D]: which tensor of ``ends``, then the position in it; -1: none.
        value: output of ``forward.onnx``, float32 [K]: the number itself.
        ends: the tensors that it is taken from.
    """

    name: str
    origin: str
    value: str
    ends: tuple[Logits, ...]


@dataclass(frozen=True)
class Manifest:
    """Everything about a bundle but its tensors.

    Attributes:
        source: where the model came from; free text by key, for people.
        labels: class names by index.
        input: name of the input of ``forward.onnx``, one image.
        targets: what can be explained of a box; the first one is the default.
        verification: figures measured at export, by check.
        files: sha256 of every other file, by path relative to the bundle.
        seal: sha256 of the manifest itself but for this entry, so that a label or a stride is not changed unseen.

    >>> import boxcam
    >>> manifest = boxcam.load("signs.boxcam").manifest
    >>> manifest.labels[0], manifest.layers[0].name
    ('stop', 'neck')
    """

    boxcam: str
    source: dict[str, str]
    labels: tuple[str, ...]
    input: str
    preprocess: Preprocess
    outputs: Outputs
    targets: tuple[Target, ...]
    layers: tuple[Layer, ...]
    verification: dict[str, float]
    files: dict[str, str] = field(default_factory=dict)
    format: int = FORMAT_VERSION
    seal: str = ""

    def target(self, name: str | None = None) -> Target:
        """A target by name; the first one if no name is given.

        Raises:
            UnknownNameError: there is none of that name.

        >>> import boxcam
        >>> boxcam.load("signs.boxcam").manifest.target().name
        'logit'
        """
        for target in self.targets:
            if name in (None, target.name):
                return target
        there = [target.name for target in self.targets]
        if self.outputs.whole_image and name in TARGETS[2:]:
            raise UnknownNameError(
                f"this bundle has no target {name!r} (there is: {', '.join(there)}): a classifier's box is the whole"
                " image."
            )
        options = " ".join(f"--target {one}" for one in (*there, name))
        raise UnknownNameError(
            f"this bundle has no target {name!r} (there is: {', '.join(there)}). Export the model again with --target"
            f" {name} beside those that it has: boxcam export … {options}"
        )


def read(path: str | os.PathLike[str]) -> Manifest:
    """Read and check a bundle: its version, its manifest, and the hash of every file.

    Raises:
        BundleError: the bundle or a file of it is missing, altered, broken, or of a newer version.
    """
    root = Path(path)
    if not os.path.exists(root):
        raise BundleError(f"bundle {root} does not exist. Make one with 'boxcam export'.")
    if not root.is_dir():
        raise BundleError(f"{root} is no bundle: a bundle is a folder. Make one with 'boxcam export'.")
    try:
        data = json.loads((root / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BundleError(f"{root} is no bundle: it has no {MANIFEST}. Make one with 'boxcam export'.") from None
    except (OSError, ValueError) as error:
        raise BundleError(f"{root / MANIFEST} cannot be read ({error}). Export the model again.") from error
    version = data.get("format") if isinstance(data, dict) else None
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise BundleError(f"{root / MANIFEST} does not say its format. Export the model again.")
    if version < FORMAT_VERSION:
        raise BundleError(
            f"bundle {root} has format {version}, which this boxcam no longer reads (it reads {FORMAT_VERSION})."
            " Export the model again."
        )
    if version > FORMAT_VERSION:
        raise BundleError(
            f"bundle {root} has format {version}, this boxcam reads up to {FORMAT_VERSION}. Update boxcam"
            f" (the bundle was written by {data.get('boxcam', 'an unknown version')})."
        )
    try:
        manifest: Manifest = _decode(Manifest, data)
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        raise BundleError(f"{root / MANIFEST} is not a valid manifest: {error}. Export the model again.") from error
    for name in (FORWARD, *(name for layer in manifest.layers for g in layer.gradients for name in g.files)):
        if name not in manifest.files:
            raise BundleError(f"{root / MANIFEST} has no hash of {name}. Export the model again.")
    for name, expected in manifest.files.items():
        _check_file(root, name, expected)
    if manifest.seal != seal(data):
        raise BundleError(f"{root / MANIFEST} was altered: its seal is not right. Copy or export the bundle again.")
    return manifest


def seal(data: dict[str, Any]) -> str:
    """The seal of a manifest's plain data: sha256 of its other entries as JSON with sorted keys."""
    rest = {key: value for key, value in data.items() if key != "seal"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


@contextmanager
def write(path: str | os.PathLike[str], *, overwrite: bool = False) -> Iterator[Path]:
    """Write a bundle aside and put it in place when the block ends well; leave nothing if it does not.

    Args:
        path: the bundle's directory.
        overwrite: replace a bundle that is there (never a directory that is no bundle).

    Yields:
        An empty directory to write into; finish with `write_manifest`.

    Raises:
        OutputError: the place is taken or cannot be written.
    """
    check_target(path, overwrite=overwrite)
    target = Path(os.path.realpath(path))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise OutputError(f"cannot write {target}: {error.strerror}. Choose another place with -o.") from error
    try:
        aside.chmod(0o755)
        yield aside
        check_target(target, overwrite=overwrite)  # the block may have taken minutes
        _put_in_place(aside, target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def check_target(path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Say early whether a bundle can be written there.

    Raises:
        OutputError: the place is taken or cannot be written.
    """
    target = Path(path)
    if os.path.exists(target):
        if not target.is_dir() or not (target / MANIFEST).is_file():
            raise OutputError(f"{target} exists and is no bundle; it is left alone. Choose another place with -o.")
        if not overwrite:
            raise OutputError(f"bundle {target} exists. Replace it with --overwrite, or choose another place with -o.")
    parent = target.parent
    while not os.path.exists(parent):
        parent = parent.parent
    try:
        with tempfile.TemporaryFile(dir=parent):
            pass
    except OSError as error:
        reason = error.strerror or "unknown reason"
        raise OutputError(
            f"cannot write {target}: {parent} is not writable ({reason}). Choose another place with -o."
        ) from error


def _put_in_place(aside: Path, target: Path) -> None:
    """Rename a finished bundle to its name; the one it replaces is deleted last, or put back."""
    old = aside.with_name(aside.name + ".old")
    try:
        if not target.exists():
            aside.rename(target)
            return
        target.rename(old)
        try:
            aside.rename(target)
        except OSError:
            old.rename(target)
            raise
    except OSError as error:
        raise OutputError(f"cannot write {target}: {error.strerror}. Choose another place with -o.") from error
    shutil.rmtree(old, ignore_errors=True)


def write_manifest(root: Path, manifest: Manifest) -> Manifest:
    """Hash the files under ``root`` and write the manifest beside them; returns it with the hashes.

    A file name that is not UTF-8, in ``source``, is written with JSON's own escapes, and is read back as it is.
    """
    names = sorted(file.relative_to(root).as_posix() for file in root.rglob("*") if file.is_file())
    files = {name: _sha256(root / name) for name in names if name != MANIFEST}
    manifest = dataclasses.replace(manifest, files=files)
    manifest = dataclasses.replace(manifest, seal=seal(dataclasses.asdict(manifest)))
    text = json.dumps(dataclasses.asdict(manifest), indent=2, ensure_ascii=False)
    # What UTF-8 cannot hold are lone surrogates, and Python's escape of one, \udcff, is also JSON's.
    (root / MANIFEST).write_text(text + "\n", encoding="utf-8", errors="backslashreplace")
    return manifest


def _check_file(root: Path, name: str, expected: str) -> None:
    parts = Path(name).parts
    if Path(name).is_absolute() or ".." in parts:
        raise BundleError(f"{root / MANIFEST} names a file outside the bundle: {name!r}.")
    file = root / name
    if not file.is_file():
        raise BundleError(f"bundle {root} has lost its file {name}. Copy it again, or export the model again.")
    try:
        actual = _sha256(file)
    except OSError as error:
        raise BundleError(f"{file} cannot be read: {error.strerror}. Check its permissions.") from error
    if actual != expected:
        raise BundleError(f"{file} was altered: its sha256 is not the manifest's. Copy or export the bundle again.")


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


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
            raise ValueError(f"{len(arguments)} items were expected, not {data!r}")
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
    hints = typing.get_type_hints(kind)
    fields = dataclasses.fields(kind)  # type: ignore[arg-type]
    unknown, names = set(data) - set(hints), {f.name for f in fields}
    required = {f.name for f in fields if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING}
    if unknown or not required <= set(data):
        raise ValueError(f"{kind.__name__}: unknown {sorted(unknown)}, missing {sorted(required - set(data))}")
    return kind(**{name: _decode(hints[name], data[name]) for name in names if name in data})
