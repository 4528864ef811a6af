"""A bundle's manifest as lines for people."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from boxcam.bundle import MANIFEST, Finding, Gradient, Layer, Manifest, Preprocess, SampleBox, SampleResult, Tensor
from boxcam.errors import ArgumentError, BundleError
from boxcam.plurals import counted
from boxcam.targets import LOGIT

_MAKE = "Make one with 'boxcam export'."
_WEIGHTS = (".pth", ".pt", ".ckpt", ".bin", ".safetensors", ".pkl")
_TENSORFLOW = (".pb", ".h5", ".keras", ".tflite")
_PADDLE = (".pdmodel", ".pdiparams")


SHOWN_SCORE, SHOWN_BOXES = 0.3, 10
"""A box is counted from this score on, as `boxcam explain` does; so many of the best are kept."""


def sample_result(
    picture: str, size: tuple[int, int], names: Sequence[str], scores: Sequence[float], boxes: Sequence[Sequence[float]]
) -> SampleResult:
    """What was found on a picture, best score first.

    Args:
        picture: its name.
        size: its height and width.
        names, scores: of the boxes' classes, and of the boxes.
        boxes: x1 y1 x2 y2 in pixels of the picture.
    """
    best = [
        SampleBox(name, round(float(score), 6), tuple(round(float(side), 1) for side in box))  # type: ignore[arg-type]
        for name, score, box in zip(names[:SHOWN_BOXES], scores, boxes, strict=False)
    ]
    return SampleResult(picture, size, sum(float(score) >= SHOWN_SCORE for score in scores), tuple(best))


def found_line(sample: SampleResult, whole_image: bool = False) -> str:
    """What was found on a picture, in one line."""
    if not sample.best:
        return f"nothing on {sample.picture}"
    shown = [_found(one, whole_image) for one in sample.best[: max(min(sample.count, SHOWN_BOXES), 1)]]
    if whole_image:
        return f"on {sample.picture}: {', '.join(_found(one, True) for one in sample.best[:3])}"
    if not sample.count:
        return f"no box of score {SHOWN_SCORE:g} or more on {sample.picture}; the best score is that of {shown[0]}"
    more = f" and {sample.count - len(shown)} more" if sample.count > len(shown) else ""
    return f"{sample.count} {'box' if sample.count == 1 else 'boxes'} on {sample.picture}: {', '.join(shown)}{more}"


def _found(one: SampleBox, whole_image: bool) -> str:
    box = "" if whole_image else f" at [{', '.join(f'{side:.0f}' for side in one.box)}]"
    return f"{one.name} {one.score:.2f}{box}"


def check_bundle(path: str | os.PathLike[str]) -> None:
    """Say how a model is exported that is given instead of a bundle.

    Raises:
        BundleError: it is no bundle; the message says what to do with it.
    """
    place, name = Path(path), os.fspath(path)
    if name.startswith("torchvision:"):
        raise BundleError(
            f"{name} is a model to export, not a bundle. Make one with: boxcam export {name} WEIGHTS.pth."
        )
    if os.path.isdir(place) and not os.path.exists(place / MANIFEST):
        models = (".onnx", *_WEIGHTS, *_TENSORFLOW, *_PADDLE)
        inside = [file for file in sorted(_entries(place)) if file.suffix.lower() in models]
        inside.sort(key=lambda file: models.index(file.suffix.lower()))  # the easiest to export is named
        advice = f"It contains {inside[0]}. {_advice(str(inside[0]))}" if inside else _MAKE
        raise BundleError(f"{name} is not a bundle: it has no {MANIFEST}. {advice}")
    if os.path.isfile(place):
        raise BundleError(
            f"{name} is not a bundle: a bundle is a folder."
            f" {_advice(name) or f'{_MAKE} It takes an ONNX file (.onnx), among others.'}"
        )


def _entries(folder: Path) -> list[Path]:
    """What is in a folder.

    Raises:
        BundleError: that cannot be seen.
    """
    try:
        entries = list(folder.iterdir())
        os.stat(os.path.join(folder, "."))  # which takes the right to go into it
    except OSError as error:
        raise BundleError(f"bundle {folder} cannot be read: {error.strerror}. Check its permissions.") from error
    return entries


def check_order(bundle: str | os.PathLike[str], images: Iterable[str | os.PathLike[str]]) -> None:
    """Say so where a bundle stands among the images that it is to explain.

    Raises:
        ArgumentError: what is given as the bundle is none, and one of the images is.
    """
    if os.path.isfile(Path(bundle) / MANIFEST):
        return
    for image in images:
        if os.path.isfile(Path(image) / MANIFEST):
            raise ArgumentError(
                f"the bundle and the images are swapped: {os.fspath(bundle)} is not a bundle, and {os.fspath(image)} is"
                " one. Give the bundle first, then the images."
            )


def _advice(name: str) -> str:
    """How a model is exported, by the kind of its file; nothing if that is not known."""
    kind = Path(name).suffix.lower()
    if kind == ".onnx":
        return f"'boxcam inspect {name}' prints the command that exports it."
    if kind in _WEIGHTS:
        return (
            f"Weights alone cannot be exported. With the config of mmdet or mmyolo: boxcam export CONFIG.py {name};"
            f" a model of torchvision: boxcam export torchvision:NAME {name}; of Ultralytics: yolo export"
            f" model={name} format=onnx; any other model: torch.onnx.export(model, image, 'model.onnx'), and then"
            " boxcam inspect model.onnx."
        )
    if kind in _TENSORFLOW:
        return "Turn it into an ONNX file with tf2onnx, and then: boxcam inspect model.onnx."
    if kind in _PADDLE:
        return "Turn it into an ONNX file with paddle2onnx, and then: boxcam inspect model.onnx."
    return f"With its checkpoint: boxcam export {name} CHECKPOINT.pth." if kind == ".py" else ""


def lines(path: str | os.PathLike[str], manifest: Manifest) -> Iterator[str]:
    """What `boxcam inspect` prints."""
    yield f"{os.fspath(path)}  (format {manifest.format}, written by boxcam {manifest.boxcam})"
    yield ""
    yield "source"
    for key, value in manifest.source.items():
        yield f"  {key:<14}{value}"
    yield ""
    shown = ", ".join(manifest.labels[:12])
    rest = f", … ({len(manifest.labels)} in all)" if len(manifest.labels) > 12 else ""
    yield f"labels          {shown}{rest}"
    yield f"preprocessing   {_preprocess(manifest.preprocess)}"
    for target in manifest.targets:
        activations = " and ".join(sorted({end.activation for end in target.ends} - {"Identity"}))
        of = f" before {activations}" if activations else ""
        yield f"target          {target.name}: from {counted(len(target.ends), 'tensor')}{of}"
    for layer in manifest.layers:
        yield ""
        yield from _layer(
            layer,
            any(other.kind == "roi" for other in manifest.layers) or manifest.source.get("stages") == "two",
            "class" if manifest.outputs.whole_image else "box",
        )
    yield ""
    if manifest.candidates is not None:
        yield "missed boxes    the bundle can tell why nothing was reported at a place"
    elif not manifest.outputs.whole_image:
        why = manifest.without_candidates or "an earlier boxcam exported the bundle"
        yield f"missed boxes    why they were not reported is not known: {why}"
    yield ""
    yield from _proved(manifest)


def _proved(manifest: Manifest) -> Iterator[str]:
    yield "proved          that the bundle computes what the model computes, as it was read"
    yield "                (errors measured at export; that of the scores is absolute, the others are relative)"
    width = max((len(name) for name in manifest.verification), default=0)
    for name, error in manifest.verification.items():
        yield f"  {name:<{width}}  {error:.1e}"


def believed(findings: Sequence[Finding], sample: SampleResult | None) -> Iterator[str]:
    """Whether a model was read right, for people: what was proved by the user's own code, and what is believed."""
    if sample is not None and sample.expected:
        yield f"proved          that it was read right: its boxes on {sample.picture} are those of {sample.expected}"
    elif findings:
        yield "believed        that it was read right, as nothing speaks against it (expect= proves it)"
    width = max((len(one.check) for one in findings), default=0)
    for one in findings:
        word = "accepted" if one.accepted else one.verdict
        yield f"  {one.check:<{width}}  {word}: {one.sentence}"


def _preprocess(spec: Preprocess) -> str:
    fit, size = f"{spec.fit_height}x{spec.fit_width}", f"{spec.height}x{spec.width}"
    if spec.multiple:
        short, long = sorted((spec.fit_height, spec.fit_width))
        sizes = fit if short == long else f"{short}x{long}, or {long}x{short} if it is upright"
        to = "" if spec.resize == "none" else f"fit the image into {sizes} ({spec.interpolation}), "
        where = "below and to the right" if spec.pad_to == "top-left" else "all around"
        how = f"{to}pad it {where} to sides that are multiples of {spec.multiple}: each image has its own size"
    elif spec.resize == "cover":
        how = f"resize the image to cover {fit} ({spec.interpolation}), crop {size} out of the middle"
    else:
        ratio = "keeping its ratio" if spec.resize == "fit" else "stretching it"
        where = "below and to the right" if spec.pad_to == "top-left" else "all around"
        how = f"fit the image into {fit} {ratio} ({spec.interpolation}), pad it {where} to {size}"
    mean, std = (", ".join(f"{v:g}" for v in values) for values in (spec.mean, spec.std))
    form = "" if (spec.layout, spec.dtype) == ("NCHW", "float32") else f"; {spec.layout}, {spec.dtype}"
    return f"{how}; {spec.color}, mean {mean}, std {std}{form}"


def _form(gradient: Gradient, layer: Layer, one: str) -> str:
    """What one box, or one class of a classifier, depends on."""
    if gradient.form == "windows":
        return f"windows: each {one} depends on a window of cells"
    if gradient.form == "whole":
        return "whole map"
    own = "its proposal's own features" if layer.kind == "roi" else "one row, which is the whole map"
    return f"rows: each {one} depends on {own}"


def _layer(layer: Layer, two_stages: bool, one: str) -> Iterator[str]:
    yield f"layer {layer.name}"
    for gradient in layer.gradients:
        reason = f" ({gradient.reason})" if gradient.reason else ""
        of = "" if gradient.target == LOGIT.name else f"{gradient.target}: "
        rules = "" if gradient.rules == "plain" else f"{gradient.rules}: "
        yield f"  {gradient.engine:<14}{of}{rules}{_form(gradient, layer, one)}{reason}"
        if gradient.context:
            yield f"  {'':<14}reads {counted(len(gradient.context), 'more output')} of the forward pass"
    if two_stages and layer.kind == "map":
        yield "  target        the class logit of the box, for its proposal as it is"
    for tensor in layer.tensors:
        yield f"  {tensor.name}"
        yield f"    {_tensor(tensor, layer)}"


def _tensor(tensor: Tensor, layer: Layer) -> str:
    where = "pooled per proposal" if tensor.stride is None else f"stride {tensor.stride[0]:g}x{tensor.stride[1]:g}"
    if tensor.receptive_field is not None:
        seen = f"receptive field of a logit {tensor.receptive_field}x{tensor.receptive_field} cells"
    else:
        windows = any(gradient.form == "windows" for gradient in layer.gradients)
        extent = "a window that differs from box to box" if windows else "all of it"
        seen = f"receptive field of a logit: {extent}" if tensor.stride is not None else "one proposal"
    cells = "cells by the size of the image" if tensor.height is None else f"{tensor.height}x{tensor.width} cells"
    return f"{tensor.channels} channels, {cells}, {where}, {seen}"
