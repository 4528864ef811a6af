"""What a manifest says of its forward graph, held against the graph."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from boxcam.bundle import Layer, Manifest
from boxcam.errors import BundleError, EngineError
from boxcam.runtime.outputs import check_types
from boxcam.runtime.sessions import Session

_AGAIN = "Export the model again."


def check_promises(manifest: Manifest, forward: Session) -> None:
    """Make sure that a forward graph has the input and the outputs that its manifest lists.

    Args:
        manifest: of the bundle.
        forward: its forward graph.

    Raises:
        BundleError: a tensor is missing, or has another shape or type.
        EngineError: a layer has no gradient.
    """
    if lacking := _lacking(manifest, forward):
        raise BundleError(f"{forward.file} lacks {lacking}, which the manifest lists. {_AGAIN}")
    check_types(manifest, forward.types, forward.file)
    for layer in manifest.layers:
        _check_shapes(layer, forward)
        if not layer.gradients:
            folder = Path(forward.file).parent
            raise EngineError(f"bundle {folder} has no gradient for layer {layer.name!r}. {_AGAIN}")


def first_outputs(manifest: Manifest) -> list[str]:
    """The outputs that every forward pass gives: those of the boxes, and those of the first target."""
    outputs, first = manifest.outputs, manifest.target()
    return list(dict.fromkeys([outputs.boxes, outputs.scores, outputs.labels, first.origin, first.value]))


def _listed(manifest: Manifest) -> Iterator[str]:
    """All outputs of the forward graph that a manifest names."""
    yield from first_outputs(manifest)
    for target in manifest.targets:
        yield from (target.origin, target.value)
    if manifest.candidates is not None:
        yield from (*manifest.candidates.context, *manifest.candidates.proposals)
    for layer in manifest.layers:
        for gradient in layer.gradients:
            yield from gradient.context
        for head in layer.heads:
            yield from head.context
        yield from (*(tensor.name for tensor in layer.tensors), *layer.rois)


def _lacking(manifest: Manifest, forward: Session) -> str:
    """The first outputs that are not there, or else the input; empty if nothing is missing."""
    if missing := set(_listed(manifest)) - set(forward.outputs):
        return ", ".join(sorted(missing)[:3])
    spec = manifest.preprocess
    size = forward.inputs.get(manifest.input, ())
    size = size[2:] if spec.layout == "NCHW" else size[1:3]
    if spec.multiple:
        is_own = len(size) == 2 and not any(isinstance(side, int) for side in size)
        return "" if is_own else "an input of each image's own size"
    return "" if size == (spec.height, spec.width) else f"an input of {spec.height}x{spec.width}"


def _check_shapes(layer: Layer, forward: Session) -> None:
    for tensor in layer.tensors:
        shape, said = forward.outputs[tensor.name], [tensor.channels, tensor.height, tensor.width]
        known = list(shape[1:]) if len(shape) == 4 else []
        if any(isinstance(have, int) and want not in (None, have) for have, want in zip(known, said, strict=False)):
            raise BundleError(f"{forward.file}: {tensor.name} is {known}, not {said} as the manifest says. {_AGAIN}")
