"""Run a graph in ONNX Runtime while exporting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import onnx_ir as ir
from onnx_ir.passes import common as passes

from boxcam.errors import ExportError
from boxcam.export.graphs.extract import clone_model
from boxcam.export.graphs.query import Array, all_values, opset_of, static_shape
from boxcam.runtime import interruptible
from boxcam.runtime.failures import found_nothing, reason
from boxcam.runtime.sessions import quiet_run, terminate
from boxcam.runtime.telemetry import import_onnxruntime

onnxruntime = import_onnxruntime()


def quiet_options(threads: int = 0) -> Any:
    """Session options that keep ONNX Runtime's log off the screen: what fails is an exception too."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    options.enable_mem_reuse = False  # see `boxcam.runtime.sessions`: it is what takes minutes for large graphs
    # Kernels for int8 round where the graph does not, each processor in its own way; compared here is the graph.
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    return options


class RunningGraph:
    """An ONNX Runtime session on the CPU that can be ended, by Ctrl-C and by `boxcam.limits`."""

    def __init__(self, model: str | bytes, options: Any) -> None:
        self._session = interruptible.run(
            lambda: onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"]), stop=lambda: None
        )

    def run(self, names: Sequence[str] | None, feeds: Mapping[str, Array]) -> list[Array]:
        """The outputs of these names, or all of them, on some inputs."""
        options = quiet_run(onnxruntime.RunOptions())
        found: list[Array] = interruptible.run(
            lambda: self._session.run(names, dict(feeds), options), stop=partial(terminate, options)
        )
        return found

    def get_inputs(self) -> Any:
        """As of ONNX Runtime's session."""
        return self._session.get_inputs()

    def get_outputs(self) -> Any:
        """As of ONNX Runtime's session."""
        return self._session.get_outputs()


def open_session(model: ir.Model | str | Path, options: Any = None) -> RunningGraph:
    """An ONNX Runtime session on the CPU."""
    return RunningGraph(str(model) if isinstance(model, (str, Path)) else serialized(model), options or quiet_options())


def serialized(model: ir.Model) -> bytes:
    """A model as the bytes of its file."""
    data: bytes = ir.to_proto(model).SerializeToString()
    return data


def run_model(model: ir.Model, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """Run a model once; returns its outputs by name.

    Raises:
        ExportError: ONNX Runtime cannot.
    """
    try:
        running = open_session(model)
        names = [output.name for output in running.get_outputs()]
        wanted = {given.name for given in running.get_inputs()}
        results = running.run(None, {name: feed for name, feed in feeds.items() if name in wanted})
    except Exception as error:  # onnxruntime's own errors share no public root
        raise ExportError(failure_message(model, error)) from error
    return dict(zip(names, results, strict=False))


def failure_message(model: ir.Model, error: Exception) -> str:
    """What to say of a run that failed."""
    advice = " Check that it runs in onnxruntime by itself."
    if found_nothing(error):
        advice = " Pass an image in which it finds something with sample=."
    elif "IR version" in str(error):
        advice = " Install a newer onnxruntime, or export the model with an earlier version of the onnx package."
    elif any(len(shape) == 4 and None in shape[1:] for v in model.graph.inputs if (shape := static_shape(v))):
        advice = (
            " The input size is dynamic, and a model may not support every size: pad to a larger multiple, such as"
            ' preprocess="multiple=64", or fix the size with shape=, such as shape=(640, 640).'
        )
    return f"onnxruntime cannot run the model (opset {opset_of(model)}): {reason(error)}.{advice}"


def record_ranks(model: ir.Model, feeds: Mapping[str, Array]) -> None:
    """Tell the rank of every value that shape inference could not, from one run; its dimensions stay open."""
    unknown = [value for value in all_values(model.graph) if value.shape is None]
    for value, result in zip(unknown, observe_values(model, unknown, feeds), strict=True):
        value.shape = ir.Shape([None] * result.ndim)
        value.dtype = ir.DataType.from_numpy(result.dtype)


def observe_values(model: ir.Model, targets: Sequence[ir.Value], feeds: Mapping[str, Array]) -> list[Array]:
    """What some values of the main graph are in one run."""
    if not targets:
        return []
    probe = clone_model(model)
    by_name = {value.name: value for value in (*probe.graph.initializers.values(), *all_values(probe.graph))}
    probe.graph.outputs.clear()
    probe.graph.outputs.extend(by_name[value.name] for value in targets)
    passes.RemoveUnusedNodesPass()(probe)
    results = run_model(probe, feeds)
    return [results[str(value.name)] for value in targets]
