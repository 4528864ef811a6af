"""The gradient of one value of a graph by others, for whatever arrives at it: a vector-Jacobian product."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from onnx_ir.passes import common as passes

from boxcam.errors import UnsupportedOperatorError
from boxcam.export.autodiff.block import Block, Boxes
from boxcam.export.autodiff.engine import Tape
from boxcam.export.autodiff.rule import OPSET
from boxcam.export.graphs.dependency import gradient_reaches
from boxcam.export.graphs.extract import clone_model
from boxcam.export.graphs.ops import Ops
from boxcam.export.graphs.query import all_values, opset_of, static_shape

SEED = "seed"


def vjp(
    model: ir.Model, output: str, inputs: Sequence[str], real: npt.DTypeLike = np.float32, guided: bool = False
) -> ir.Model:
    """Differentiate one value of a graph by others.

    Args:
        model: the forward graph, with shapes; it is not changed.
        output: name of the value to differentiate.
        inputs: names of the values to differentiate by.
        real: floating-point type of all of them.
        guided: whether activations pass only what is positive; see `boxcam.export.autodiff.guided`.

    Returns:
        A graph from values of one forward pass (its inputs, by the names that they have there) and ``seed``, [M, *shape
        of the output], to ``gradient.0``, ``gradient.1`` …, [M, *shape of the input]: zero where nothing arrives.

    Raises:
        UnsupportedOperatorError: an operator in between has no rule, or not for these attributes.
    """
    work = clone_model(model)
    values = {str(value.name): value for value in all_values(work.graph)}
    target, sources = values[output], [values[name] for name in inputs]
    dtype = ir.DataType.from_numpy(np.dtype(real))
    shape = static_shape(target)
    if shape is None:
        raise UnsupportedOperatorError(
            f"the rank of {output} is not known. Export the model with the shapes of its values (shape inference)."
        )
    seed = ir.Value(name=SEED, type=ir.TensorType(dtype), shape=ir.Shape([None, *shape]))
    graph = ir.Graph([seed], [], nodes=[], opset_imports={"": OPSET}, name="gradient")
    op = Ops(graph, "gradient", real=real)
    tape = Tape(op, opset_of(work), {}, gradient_reaches(work.graph, sources), local=False, guided=guided)
    start = Block(seed, (None,) * len(shape), Boxes(seed))
    found = tape.backward({target: start}, sources) if target not in sources else {target: [start]}
    for number, source in enumerate(sources):
        if source in found:
            (block,) = found[source]
            result = op.Identity(tape.widened(block, range(len(block.axes)), source).value)
        else:
            count = op.Shape(seed, start=0, end=1)
            lengths = [tape.length(source, a) for a in range(tape.rank(source))]
            whole = op.Concat(count, *(np.array([n]) if isinstance(n, int) else n for n in lengths), axis=0)
            result = op.Expand(np.zeros((), real), whole)
        result.name, result.dtype = f"gradient.{number}", dtype
        result.shape = ir.Shape([None, *tape.dims(source)])
        graph.outputs.append(result)
    return finished(graph)


def finished(graph: ir.Graph) -> ir.Model:
    """A gradient graph as a model: nothing that no output needs, and its nodes in order."""
    graph.sort()
    model = ir.Model(graph, ir_version=8, producer_name="boxcam")
    passes.RemoveUnusedNodesPass()(model)
    used = {value for node in graph for value in node.inputs}
    for value in [v for v in graph.inputs if v not in used]:
        graph.inputs.remove(value)
    return model
