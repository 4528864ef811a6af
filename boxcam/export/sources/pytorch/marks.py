"""Marks: find again in the ONNX graph what was a module's input or output in torch.

A hook passes the tensor through an operator of its own, ``boxcam::Mark``, which does nothing and survives the export;
after the export the marks are taken out of the graph and the tensors' names are known.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import onnx_ir as ir
import torch

from boxcam.export.source import LayerTensors

_DOMAIN = "boxcam"


class _Mark(torch.autograd.Function):
    @staticmethod
    def symbolic(g: Any, tensor: Any, name: str) -> Any:
        return g.op(f"{_DOMAIN}::Mark", tensor, name_s=name).setType(tensor.type())

    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor, name: str) -> torch.Tensor:
        return tensor.view_as(tensor)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        return gradients[0], None


def mark(tensor: torch.Tensor, name: str) -> torch.Tensor:
    """The same tensor, marked."""
    marked: torch.Tensor = _Mark.apply(tensor, name)  # type: ignore[no-untyped-call]
    return marked


@contextlib.contextmanager
def marked_outputs(module: torch.nn.Module, name: str, first: int = 0) -> Iterator[None]:
    """Mark a module's output tensors: ``name.0``, ``name.1`` … (or ``name.0`` alone if it returns one).

    Args:
        module: it returns a tensor, a list or tuple of them, or a dictionary.
        name: of the mark.
        first: number of the first one.
    """

    def hook(_: torch.nn.Module, inputs: Any, output: Any) -> Any:
        if isinstance(output, torch.Tensor):
            return _Mark.apply(output, f"{name}.{first}")  # type: ignore[no-untyped-call]
        tensors = output.values() if isinstance(output, dict) else output
        marked = [_Mark.apply(t, f"{name}.{i}") for i, t in enumerate(tensors, first)]  # type: ignore[no-untyped-call]
        return type(output)(zip(output, marked, strict=True) if isinstance(output, dict) else marked)

    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@contextlib.contextmanager
def marked_input(module: torch.nn.Module, position: int, name: str) -> Iterator[None]:
    """Mark one positional input of a module, a tensor or a list of one: ``name.0``."""

    def hook(_: torch.nn.Module, inputs: tuple[Any, ...]) -> Any:
        given = inputs[position]
        several = isinstance(given, list)
        marked = _Mark.apply(given[0] if several else given, f"{name}.0")  # type: ignore[no-untyped-call]
        marked = [marked, *given[1:]] if several else marked
        return (*inputs[:position], marked, *inputs[position + 1 :])

    handle = module.register_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def take_out(graph: ir.Graph, copied: str = "") -> dict[str, str]:
    """Remove the marks from a graph; returns mark → name of the marked value.

    Args:
        graph: the graph.
        copied: marks whose name begins so become an Identity, and the marked value is its output: what else reads the
            value that was marked does not read this one.
    """
    found: dict[str, str] = {}
    for node in list(graph):
        if node.domain != _DOMAIN or node.op_type != "Mark":
            continue
        value = node.inputs[0]
        assert value is not None and value.name is not None
        name = node.attributes["name"].as_string()
        if copied and name.startswith(copied):
            node.op_type, node.domain = "Identity", ""
            node.attributes.clear()
            found[name] = str(node.outputs[0].name)
            continue
        found[name] = value.name
        ir.convenience.replace_all_uses_with(node.outputs[0], value, replace_graph_outputs=True)
        graph.remove(node, safe=True)
    graph.opset_imports.pop(_DOMAIN, None)
    return found


def layers(found: Mapping[str, str]) -> dict[str, LayerTensors]:
    """Layers by name, of the marks ``backbone.0``, ``neck.0``, ``roi.0`` with ``rois.0``, ``roi.1.0`` … of stages.

    Tensors that nothing in the deployed graph uses have left no mark and are not listed.

    Args:
        found: mark → name of the marked value.
    """
    groups: dict[str, dict[int, str]] = {}
    for mark, tensor in found.items():
        group, index = mark.rsplit(".", 1)
        groups.setdefault(group, {})[int(index)] = tensor
    named: dict[str, LayerTensors] = {}
    if "backbone" in groups:
        maps = groups["backbone"]
        named["backbone"] = LayerTensors((maps[max(maps)],))
        named.update({f"backbone.{i}": LayerTensors((maps[i],)) for i in sorted(maps) if len(maps) > 1})
    if "neck" in groups:
        named["neck"] = LayerTensors(tuple(groups["neck"][i] for i in sorted(groups["neck"])))
    if "roi" in groups:
        named["roi"] = LayerTensors((groups["roi"][0],), "roi", (groups["rois"][0],))
    stages = sorted(name for name in groups if name.startswith("roi."))
    if stages:
        tensors = tuple(groups[stage][0] for stage in stages)
        rois = tuple(groups[stage.replace("roi", "rois")][0] for stage in stages)
        named["roi"] = LayerTensors(tensors, "roi", rois)
        named.update(
            {stage: LayerTensors((t,), "roi", (r,)) for stage, t, r in zip(stages, tensors, rois, strict=True)}
        )
    return named
