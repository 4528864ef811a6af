"""How an image becomes the input of a model that does not say so itself: presets, small files, single values.

docs/preprocessing.md is the page for people; `boxcam.export.preprocessing.page` writes it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import onnx_ir as ir
import yaml

from boxcam.bundle import Preprocess, check_preprocess
from boxcam.bundle.pointers import POINTER, is_pointer
from boxcam.errors import SourceError, UnknownNameError
from boxcam.export.preprocessing.axes import Axes, Shape, axes_of, dimensions
from boxcam.export.preprocessing.keys import KEYS
from boxcam.export.preprocessing.presets import PRESETS
from boxcam.filesystem import read_text

_OPTION = "preprocess="
_NEEDED = ("resize", "scale", "color")
"""What has no default."""
_OPEN = ("fit", "none")
"""The ways to resize by which each image can have a size of its own."""
_MULTIPLE = 32
"""Of the sides of such an image, if nobody says another: the coarsest stride of most detectors."""
_MAX_BYTES = 1 << 20
_EXAMPLE = (480, 640)
"""Height and width of the pictures that are drawn for a model that takes every image as it is."""
_COUNTS = {2: "two", 3: "three", 4: "four"}
_FILES = (".yaml", ".yml", ".json")
_TYPES: dict[ir.DataType, Literal["float32", "float16", "uint8"]] = {
    ir.DataType.FLOAT: "float32",
    ir.DataType.FLOAT16: "float16",
    ir.DataType.UINT8: "uint8",
}


def parse(
    specs: str | Sequence[str],
    input_shape: Shape | None,
    input_dtype: ir.DataType | None,
    shape: tuple[int, int] | None,
    usual: tuple[int, int] | None = None,
    *,
    may_be_open: bool = True,
    is_said: bool = True,
    axes: Sequence[str | None] = (),
) -> Preprocess:
    """What ``preprocess=`` says, checked against the model's input.

    A model whose height and width are dynamic gets each image in its own size, unless one is fixed by ``shape``, or the
    image is stretched or cut to one.

    Args:
        specs: each a preset's name, a YAML or JSON file, or ``key=value``; what comes later overrides.
        input_shape: of the model's input, None for what is dynamic; None if not even the rank is known.
        input_dtype: type of the model's input; None if it is not known, which is float32.
        shape: height and width that the user wants (``shape=``), or None for those of the model's input.
        usual: height and width that the file names where its input's are dynamic.
        may_be_open: whether the model can be one whose sizes stay dynamic; otherwise its input is made for one.
        is_said: whether somebody says ``specs``; otherwise they stand for a preset that is still to be chosen.
        axes: what the file calls the axes of the model's input, None where it has no name.

    Raises:
        SourceError: nothing is said, it contradicts itself or the model's input, or the input is no image.
    """
    specs = [specs] if isinstance(specs, str) else list(specs)
    if not specs:
        known = "; ".join(f"{name} ({PRESETS[name].models.partition(':')[0].partition(';')[0]})" for name in PRESETS)
        raise SourceError(
            "the file does not say how an image becomes the model input. Pass a preset, a YAML file, or key=value with"
            f" preprocess=. The presets are: {known}."
        )
    said = _said(specs)
    dtype = _dtype(input_dtype)
    settings = said.settings(dtype)
    read = axes_of(input_shape, axes, settings.get("layout"), settings.get("color"))
    if read.channels == 3:
        _require(settings, "color")
    said.by_channel(settings, read.channels)
    if is_said:
        _check_color(said.values.get("color"), read.channels, input_shape)
    assert input_shape is not None
    fixed = input_shape[2:] if read.layout == "NCHW" else input_shape[1:3]
    is_open = may_be_open and tuple(fixed) == (None, None) and shape is None and settings["resize"] in _OPEN
    if settings["resize"] == "none" and "size" not in settings:
        usual = usual or _EXAMPLE
    open_by: Sequence[str] = specs if is_open else ()
    if not is_said and tuple(fixed) == (None, None):
        open_by = ("PRESET",)
    size = _size(input_shape, fixed, _Sides(settings.get("size"), shape, usual), open_by)
    if not is_open:
        for name in ("multiple", *(["resize"] if settings["resize"] == "none" else [])):
            if name in settings:
                raise SourceError(
                    f"{_OPTION}: {name} {_shown(settings[name])} is for a model whose height and width are dynamic,"
                    f" not fixed to {size[0]}x{size[1]}. Leave it"
                    f" out{'' if shape is None else ', or leave out shape='}."
                )
        return _preprocess(settings, size, read, dtype)
    return _preprocess(settings, size, read, dtype, settings.get("multiple", _MULTIPLE))


def is_complete(specs: Sequence[str], channels: int = 3) -> bool:
    """Whether a preset, or all of how to resize, scale and order the colours is said.

    Args:
        specs: what is said.
        channels: of the model's input; only three of them have an order of colours.

    Raises:
        SourceError: something that is said does not exist.
    """
    said = _said(specs)
    return said.preset is not None or all(key in said.values for key in _NEEDED if key != "color" or channels == 3)


def channels_of(specs: Sequence[str], shape: Shape | None, axes: Sequence[str | None] = ()) -> int:
    """How many channels a model's input has; three if that is not clear.

    Args:
        specs: what is said of the preprocessing.
        shape: of the input.
        axes: what the file calls its axes.
    """
    said = _said(specs).values
    try:
        return axes_of(shape, axes, said.get("layout"), said.get("color")).channels
    except SourceError:
        return 3


def resize_of(specs: Sequence[str]) -> str | None:
    """How the image is resized; None if that is not said."""
    said = _said(specs)
    base = {} if said.preset is None else PRESETS[said.preset].settings
    return cast("str | None", {**base, **said.values}.get("resize"))


def has_size(specs: Sequence[str]) -> bool:
    """Whether a height and width are said."""
    return "size" in _said(specs).values


def completed(specs: Sequence[str], channels: int = 3) -> list[str]:
    """What is said, with plain pixels for what is not: enough to run a model by, not to trust its numbers."""
    said = _said(specs).values
    pads = not {"pad", "pad_value", "multiple"}.isdisjoint(said)
    resize = said.get("resize", "fit" if pads else "cover" if "crop_pct" in said else "stretch")
    plain = [f"resize={resize}", "scale=0-255", *(["color=RGB"] if channels == 3 else [])]
    return [*plain, *(["pad=center", "pad_value=0"] if resize in _OPEN else []), *specs]


def _said(specs: Sequence[str]) -> _Settings:
    said = _Settings()
    for spec in specs:
        said.add(spec)
    return said


@dataclass
class _Settings:
    """What was said so far: a preset, and values by key, each with the place where it was said."""

    preset: str | None = None
    values: dict[str, Any] = field(default_factory=dict)
    where: dict[str, str] = field(default_factory=dict)

    def add(self, spec: str) -> None:
        key, equals, value = spec.partition("=")
        if spec.lower().endswith(_FILES):
            for name, entry in _read(spec).items():
                self._put(str(name), entry, spec)
        elif equals:
            self._put(key.strip(), value.strip(), _OPTION)
        else:
            self._put("preset", spec, _OPTION)

    def _put(self, key: str, value: Any, where: str) -> None:
        if key == "preset":
            if self.preset is not None:
                raise SourceError(f"{where}: there are two presets, {self.preset} and {value}. Pass one.")
            try:
                PRESETS[str(value)]
            except UnknownNameError as error:
                hint = " Or pass a YAML file, or key=value." if where == _OPTION else ""
                raise SourceError(f"{where}: {error}{hint}") from error
            self.preset = str(value)
        elif key not in KEYS:
            raise SourceError(f"{where}: there is no key {key!r}. There are: preset, {', '.join(KEYS)}.")
        else:
            try:
                self.values[key] = KEYS[key](value)
                self.where[key] = where
            except (TypeError, ValueError) as error:
                raise SourceError(f"{where}: {key} {_shown(value)}: {error} was expected. Correct it.") from error

    def settings(self, dtype: str) -> dict[str, Any]:
        """The preset's values with those that were given put over them.

        Raises:
            SourceError: something is missing, has no meaning, or changes the meaning of something else.
        """
        given, base = self.values, self._base(dtype)
        settings: dict[str, Any] = {**base, **given}
        for name in ("resize", "scale"):
            _require(settings, name)
        if given.get("color", base.get("color")) != base.get("color"):
            for name in {"mean", "std", "pad_value"} & set(base) - set(given):
                settings[name] = base[name][::-1]
        if given.get("scale", base.get("scale")) != base.get("scale"):
            for name, plain in (("mean", 0.0), ("std", 1.0)):
                if name in base and name not in given and set(base[name]) != {plain}:
                    raise SourceError(
                        f"{_OPTION}: scale {given['scale']} changes what {name} {_shown(base[name])} of the preset"
                        f" {self.preset} means. Pass mean and std too."
                    )
        _check_resize(settings, given)
        return settings

    def by_channel(self, settings: dict[str, Any], channels: int) -> None:
        """Give every channel of the model's input a mean, a std and a padding, in place.

        Raises:
            SourceError: there are more or fewer of them, and they differ.
        """
        for name, plain in (("mean", 0.0), ("std", 1.0), ("pad_value", 0.0)):
            values = settings.setdefault(name, (plain,))
            if values == "mean" or len(values) == channels:
                continue
            if len(set(values)) != 1:
                some = {1: "one number"}.get(
                    channels, f"one number, or {_COUNTS.get(channels, channels)}, one for each channel,"
                )
                whose = "" if name in self.values else f" of the preset {self.preset}"
                raise SourceError(
                    f"{self.where.get(name, _OPTION)}: {name} {_shown(tuple(values))}{whose}: {some} was expected, as"
                    f" the model's input has {channels} channel{'s' if channels > 1 else ''}. Correct it."
                )
            settings[name] = (values[0],) * channels

    def _base(self, dtype: str) -> dict[str, Any]:
        if self.preset is None:
            return {}
        preset = PRESETS[self.preset]
        plain = {"scale": "0-255", "mean": (0.0,) * 3, "std": (1.0,) * 3}
        return {**preset.settings, **(plain if preset.pixels and dtype == "uint8" else {})}


def _require(settings: Mapping[str, Any], name: str) -> None:
    if name not in settings:
        raise SourceError(f"{_OPTION}: {name} is missing. Pass a preset ({', '.join(PRESETS)}), or add {name}=….")


def _check_resize(settings: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    resize = settings["resize"]
    if resize == "fit" or (resize == "none" and settings.get("multiple") != 1):
        for name in ("pad", "pad_value"):
            if name not in settings:
                raise SourceError(f"{_OPTION}: resize {resize} pads, and {name} is missing. Add {name}=….")
    pads = resize in _OPEN or (resize == "stretch" and "fit" in settings)
    idle = [name for name in ("pad", "pad_value") if name in given and not pads]
    if "crop_pct" in given and (resize != "cover" or "fit" in settings):
        idle.append("crop_pct")
    idle += ["fit"] if resize == "none" and "fit" in given else []
    idle += ["rounding"] if resize != "fit" and "rounding" in given else []
    idle += ["multiple"] if resize not in _OPEN and "multiple" in given else []
    if idle:
        raise SourceError(f"{_OPTION}: {idle[0]} has no meaning for resize {resize} as it is here. Leave it out.")


def _preprocess(
    settings: Mapping[str, Any], size: tuple[int, int], axes: Axes, dtype: str, multiple: int = 0
) -> Preprocess:
    fit = settings.get("fit", size)
    if multiple:
        size = (-(-max(fit[0], size[0]) // multiple) * multiple, -(-max(fit[1], size[1]) // multiple) * multiple)
    if settings["resize"] == "cover" and "fit" not in settings:
        fit = tuple(math.floor(edge / settings.get("crop_pct", 1.0)) for edge in size)
    mean, std = settings["mean"], settings["std"]
    _check_range(settings["scale"], mean)
    if settings["scale"] == "0-1":
        # Rounded to what people write: 123.675, and not 123.67499999999998.
        mean, std = (tuple(round(255 * value, 9) for value in values) for values in (mean, std))
    if dtype == "uint8" and (any(mean) or set(std) != {1.0}):
        raise SourceError(
            f"{_OPTION}: the model's input is uint8, the pixels as they are. Pass scale=0-255, mean=0 and std=1."
        )
    padding = settings["pad_value"]
    try:
        spec = Preprocess(
            height=size[0],
            width=size[1],
            fit_height=fit[0],
            fit_width=fit[1],
            resize=settings["resize"],
            pad_to="center" if settings["resize"] == "cover" else settings.get("pad", "top-left"),
            pad_value=(0.0,) * axes.channels if padding == "mean" else padding,
            pad_before_normalize=padding != "mean",
            mean=mean,
            std=std,
            color=cast(Any, {1: "GRAY", 3: settings.get("color")}.get(axes.channels, "as given")),
            interpolation=settings.get("interpolation", "bilinear"),
            layout=axes.layout,
            dtype=cast(Any, dtype),
            rounding=settings.get("rounding", "nearest") if settings["resize"] == "fit" else "nearest",
            multiple=multiple,
        )
        check_preprocess(spec)
        return spec
    except ValueError as error:
        raise SourceError(f"{_OPTION}: {str(error).removeprefix('preprocess: ')}. Correct it.") from error


def _check_color(said: str | None, channels: int, shape: Shape | None) -> None:
    """Refuse an order of colours for an input that has no three, and grey for one that has."""
    if said is not None and (said == "GRAY") != (channels == 1):
        what = "one channel, which is grey" if channels == 1 else f"{channels} channels"
        shown = "" if shape is None else f" {dimensions(shape)}"
        raise SourceError(
            f"{_OPTION}: color {said} contradicts the model's input{shown}, which has {what}. Leave it out."
        )


def _check_range(scale: str, mean: Sequence[float]) -> None:
    """Refuse a mean that is plainly of the other scale: the detector would see next to nothing."""
    if scale == "0-1" and max(mean) > 1:
        raise SourceError(f"{_OPTION}: mean {_shown(mean)} is beyond the scale 0-1. Pass scale=0-255.")
    if scale == "0-255" and 0 < max(mean) <= 1:
        raise SourceError(f"{_OPTION}: mean {_shown(mean)} is next to nothing on the scale 0-255. Pass scale=0-1.")


def _dtype(given: ir.DataType | None) -> Literal["float32", "float16", "uint8"]:
    if given is None:
        return "float32"
    if given not in _TYPES:
        raise SourceError(
            f"the model's input is {given.name.lower()}; an image is float32, float16 or uint8. Export the model with"
            " such an input."
        )
    return _TYPES[given]


@dataclass(frozen=True)
class _Sides:
    """Height and width by all who may say them.

    Attributes:
        said: by the key ``size``.
        wanted: by ``shape=``.
        usual: of pictures that the model was trained with; it may be of another model.
    """

    said: tuple[int, int] | None
    wanted: tuple[int, int] | None
    usual: tuple[int, int] | None


def _size(shape: Shape, fixed: Shape, sides: _Sides, open_by: Sequence[str]) -> tuple[int, int]:
    """Height and width, from the model's input, ``shape=`` and the key ``size``, which must not contradict.

    If all leave them open, the usual ones. ``open_by`` is what is said of the preprocessing, if each image may have a
    size of its own by it: a message tells what to add.
    """
    said, wanted, usual = sides.said, sides.wanted, sides.usual
    for name, edges in (("shape={}", wanted), ('preprocess="size={}"', said)):
        if edges is not None and any(have not in (None, want) for have, want in zip(fixed, edges, strict=True)):
            raise SourceError(
                f"{name.format(f'{edges[0]}x{edges[1]}')} contradicts the model's input {dimensions(shape)}, which is"
                " fixed. Leave it out, or export the model to ONNX again."
            )
    if said is not None and wanted is not None and said != wanted:
        raise SourceError(
            f'shape={wanted[0]}x{wanted[1]} and preprocess="size={said[0]}x{said[1]}" contradict each other. Pass one.'
        )
    if usual is not None and any(have not in (None, want) for have, want in zip(fixed, usual, strict=True)):
        usual = None  # of another model than this one, or one side of this one is open only
    height, width = wanted or said or usual or fixed
    if height is None or width is None:
        own = ""
        if open_by:
            own = (
                f"; or let each image have its own, with {_OPTION}{[*open_by, 'size=640x640']}, into which it is"
                f" fitted, or {_OPTION}{[*open_by, 'resize=none']}, which leaves it as it is"
            )
        raise SourceError(
            f"the model's input {dimensions(shape)} has no fixed height and width. Fix them with shape=, such as"
            f" shape=(640, 640){own}."
        )
    return height, width


class _PlainLoader(yaml.SafeLoader):  # type: ignore[misc]  # yaml has no types here
    """YAML without references to what stood before: a few lines of these stand for more than any memory holds."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it refers to another part of itself (*), which is not supported")
        return super().compose_node(parent, index)


def _read(path: str) -> Mapping[Any, Any]:
    if is_pointer(path):
        raise SourceError(f"{_OPTION}: {path} {POINTER}")
    try:
        text = read_text(path, _MAX_BYTES)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SourceError(f"{_OPTION}: {path} cannot be read: {reason}. Check the path, or pass a preset.") from error
    try:
        data = json.loads(text) if path.lower().endswith(".json") else yaml.load(text, _PlainLoader)
    except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        said = " ".join(str(error).split())[:300]
        raise SourceError(
            f"{_OPTION}: {path} is not valid YAML or JSON: {said.rstrip('.')}. Correct it there."
        ) from error
    if not isinstance(data, dict):
        raise SourceError(f"{_OPTION}: {path} does not hold keys and values. Write some, such as 'preset: yolo'.")
    return data


def _shown(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ",".join(f"{v:g}" if isinstance(v, float) else str(v)[:60] for v in value[:20])
    return repr(value)[:200]
