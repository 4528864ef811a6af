"""Reverse mode: walk a graph back from some logits, and write the gradient as another graph.

The walk, summing over broadcast axes, and adding up what arrives along several paths is done here, once; what an
operator does to a gradient is in its rule.  The gradient graph is separate from the forward graph: its inputs are
values of one forward pass (`boxcam.export.autodiff.forward`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import reduce

import numpy as np
import onnx_ir as ir

from boxcam.export.autodiff.block import UNIFORM, Block, Boxes, Size, Window
from boxcam.export.autodiff.groups import GroupArithmetic
from boxcam.export.autodiff.guided import rectifiers
from boxcam.export.autodiff.rule import RULES, ZERO, Rule, Site, unsupported
from boxcam.export.autodiff.written_out import ENDS, written_out
from boxcam.export.graphs.dependency import differentiable_inputs
from boxcam.export.graphs.ops import Ops
from boxcam.export.graphs.query import ancestors, describe_node
from boxcam.registry import Registry

LocalRule = Callable[["Tape", ir.Node, int, Block, Collection[int]], Mapping[int, Sequence[Block]] | None]
"""``(tape, node, output, block, wanted inputs) → blocks by input``, or None to leave the node to its plain rule."""

LOCAL: Registry[LocalRule] = Registry("local gradient rule")


class Tape(GroupArithmetic):
    """Writes gradients into a graph.

    Args:
        op, opset, given: see `ForwardValues`.
        reached: forward values that a gradient has to be carried through.
        local: whether to keep gradients in blocks; otherwise all are whole, which is what blocks are checked against.
        means: features of whose gradient only the mean over the map of each channel matters, where that is cheaper:
            such a gradient may be given as a uniform one.
        guided: whether rectifying activations pass only what is positive, where they are active; see
            `boxcam.export.autodiff.guided`.
    """

    def __init__(
        self,
        op: Ops,
        opset: int,
        given: Mapping[ir.Value, ir.Value],
        reached: Collection[ir.Value],
        local: bool = True,
        means: Collection[ir.Value] = (),
        guided: bool = False,
    ) -> None:
        super().__init__(op, opset, given)
        self.reached, self.local, self.means, self.guided = reached, local, set(means), guided
        self.barriers: dict[str, None] = {}
        self._rectified: Mapping[ir.Value, ir.Value] = {}
        self._slopes: dict[ir.Value, tuple[ir.Value, ir.Value] | None] = {}
        self.largest = 1  # numbers that the largest gradient of one box has, as far as that is known here

    def backward(self, seeds: Mapping[ir.Value, Block], features: Collection[ir.Value]) -> dict[ir.Value, list[Block]]:
        """Carry gradients from some values back to others.

        Args:
            seeds: where to begin.
            features: where to end.

        Returns:
            For each feature that a gradient arrives at, blocks whose sum it is.

        Raises:
            UnsupportedOperatorError: an operator in between has no rule, or not for these attributes.
        """
        pending: dict[ir.Value, list[Block]] = {value: [seed] for value, seed in seeds.items()}
        ends = set(features)
        nodes = ancestors(list(seeds), ends)
        place = {node: number for number, node in enumerate(nodes)}
        self._rectified = rectified = rectifiers(nodes) if self.guided else {}
        for node in reversed(nodes):
            wanted = self._wanted(node)
            passes = any(v in self.reached for v in differentiable_inputs(node))
            for number, value in enumerate(node.outputs):
                if value in ends:
                    continue
                gathered = self.joined(self.merged(pending.pop(value, []), value), value) if passes else []
                if value in rectified:
                    gathered = [self._positive(block, value, rectified[value]) for block in self.added(gathered, value)]
                for arrived in gathered:
                    passed = self._through_activation(node, arrived, place) if arrived.dense and self.local else None
                    if passed is not None:
                        pending.setdefault(passed[0], []).append(passed[1])
                        continue
                    for index, found in self._through(node, number, arrived, wanted).items():
                        used = node.inputs[index]
                        assert used is not None
                        pending.setdefault(used, []).extend(found)
                        self.largest = max([self.largest, *(self._numbers(used, block) for block in found)])
        arrived_at = {value: self.merged(found, value) for value, found in pending.items() if value in ends}
        return {value: self.reconciled(found, value) for value, found in arrived_at.items()}

    def _wanted(self, node: ir.Node) -> list[int]:
        """The inputs of a node that a gradient is carried to."""
        carrying = differentiable_inputs(node)
        return [i for i, v in enumerate(node.inputs) if v in self.reached and any(v is c for c in carrying)]

    def _positive(self, block: Block, y: ir.Value, sign: ir.Value) -> Block:
        """What is positive of the gradient of a rectifying activation's output, where the activation is active.

        Args:
            block: all that arrives.
            y: the output.
            sign: of the same shape, and positive where the activation is active.
        """
        op, node = self.op, y.producer()
        assert node is not None
        uneven = [a for a in block.uniform() if self.dims(y)[a] != 1]
        if uneven:
            self.barriers.setdefault(describe_node(node))
        block = self.widened(block, uneven, y)
        active = self.site(node, lambda value: self.at(value, block.axes, self.rank(y)), ()).forward(sign)
        passing = op.And(op.Greater(block.value, 0.0), op.Greater(active, 0.0))
        return Block(op.Where(passing, block.value, 0.0), block.axes, block.boxes)

    def _through_activation(
        self, node: ir.Node, block: Block, place: Mapping[ir.Node, int]
    ) -> tuple[ir.Value, Block] | None:
        """What a whole gradient is before an activation that is written out, times its slope: once for all boxes.

        Args:
            node: may be its last one.
            block: of the output.
            place: of the nodes that lie on the way, in topological order.

        Returns:
            The value that the activation is of, and the gradient by it; None if this is not the end of one.
        """
        y = node.outputs[0]
        if node.op_type not in ENDS:
            return None
        if y not in self._slopes:
            found = written_out(node, place)
            nodes = [node, *found[1]] if found else []
            within = all(one in place and one.op_type in RULES for one in nodes)  # not beyond a layer
            within = within and not any(one.outputs[0] in self._rectified for one in nodes[1:])  # guided each by itself
            known = found is not None and within and found[0] in self.reached
            self._slopes[y] = (found[0], self._slope(found[0], nodes)) if found is not None and known else None
        if (known_slope := self._slopes[y]) is None:
            return None
        x, slope = known_slope
        value = self.op.Mul(block.value, slope)
        if node.op_type == "Max":  # chooses, so that nothing passes below the larger one: inf times 0 would be NaN
            value = self.op.Where(self.op.Equal(slope, 0.0), 0.0, value)
        return x, replace(block, value=value)

    def _slope(self, x: ir.Value, nodes: Sequence[ir.Node]) -> ir.Value:
        """The slope of a function of one value, number by number: [1, *x.shape].

        Args:
            x: what it is of.
            nodes: the function, the last one first.
        """
        op, barriers = self.op, dict(self.barriers)
        lengths = self.dims(x)
        one = op.value(np.ones((1,) * (len(lengths) + 1), op.real))
        assert one is not None
        seed = Block(one, tuple(None if length == 1 else UNIFORM for length in lengths), Boxes(one))
        pending: dict[ir.Value, list[Block]] = {nodes[0].outputs[0]: [seed]}
        inside = {x, *(node.outputs[0] for node in nodes)}
        for node in nodes:
            wanted = [i for i in self._wanted(node) if node.inputs[i] in inside]
            for arrived in self.merged(pending.pop(node.outputs[0], []), node.outputs[0]):
                for index, found in self._by_rule(RULES[node.op_type], node, 0, arrived, wanted).items():
                    used = node.inputs[index]
                    assert used is not None
                    pending.setdefault(used, []).extend(found)
        self.barriers = barriers
        parts = [block.value for block in pending[x]]
        return reduce(op.Add, parts)

    def _through(
        self, node: ir.Node, number: int, block: Block, wanted: Sequence[int]
    ) -> Mapping[int, Sequence[Block]]:
        name = node.op_type
        if node.domain not in ("", "ai.onnx"):
            raise unsupported(
                node, self.opset, f"has no gradient, as it is not a standard operator but one of {node.domain}"
            )
        if any(attr.type == ir.AttributeType.GRAPH for attr in node.attributes.values()):
            raise unsupported(node, self.opset, "runs a subgraph, which no gradient passes through")
        if self.local and name in LOCAL:
            found = LOCAL[name](self, node, number, block, wanted)
            if found is not None:
                return found
        if name in ZERO:
            return {}
        if name not in RULES:
            raise unsupported(node, self.opset, "has no gradient rule")
        return self._by_rule(RULES[name], node, number, block, wanted)

    def _by_rule(
        self, rule: Rule, node: ir.Node, number: int, block: Block, wanted: Sequence[int]
    ) -> Mapping[int, Sequence[Block]]:
        y = node.outputs[number]
        whole = self.site(node, self.whole, wanted)
        independent = set(rule.independent(whole)) if not block.dense else set()
        kept = [a for a in block.windowed() if a in independent]
        if len(kept) < len(block.windowed()):
            self.barriers.setdefault(describe_node(node))
        once = block.uniform() if rule.broadcasts else []
        block = self.widened(block, [a for a in range(len(block.axes)) if a not in (*kept, *once)], y)
        spread: set[int] = set()  # axes along which a uniform gradient met a value that is not

        def noticed(value: ir.Value) -> None:
            extra = self.rank(y) - self.rank(value)
            spread.update(a for a in once if a >= extra and self.dims(value)[a - extra] != 1)

        def read(value: ir.Value) -> ir.Value:
            noticed(value)
            return self.at(value, block.axes, self.rank(y))

        def signs(value: ir.Value) -> ir.Value:
            noticed(value)
            return self.positive_at(value, block.axes, self.rank(y))

        site = replace(self.site(node, read, wanted), signs=signs) if kept or once else whole
        gs = [block.value if i == number else None for i in range(len(node.outputs))]
        contributions = rule.function(site, gs)
        common = set(spread)  # what was read for all of the contributions
        result: dict[int, list[Block]] = {}
        for index in wanted:
            spread.clear()
            spread.update(common)
            found = contributions[index] if index < len(contributions) else None
            value = found() if callable(found) else found
            used = node.inputs[index]
            if value is None or used is None:
                continue
            if spread:
                self.barriers.setdefault(describe_node(node))
            if rule.broadcasts:
                axes = tuple(None if a in spread else axis for a, axis in enumerate(block.axes))
                result[index] = [self._shrunk(Block(value, axes, block.boxes), y, used)]
            else:
                axes = tuple(block.axes[a] if a in kept else None for a in range(self.rank(used)))
                result[index] = [Block(value, axes, block.boxes)]
        return result

    def site(self, node: ir.Node, read: Callable[[ir.Value], ir.Value], wanted: Collection[int]) -> Site:
        """A node as its rule sees it."""
        return Site(self.op, node, self.opset, read, frozenset(wanted))

    def _shrunk(self, block: Block, y: ir.Value, x: ir.Value) -> Block:
        """Sum a gradient of the output's shape over the axes along which an input was broadcast."""
        op = self.op
        ys, xs = self.dims(y), self.dims(x)
        extra = len(ys) - len(xs)
        summed = [a for a, (have, want) in enumerate(zip(ys[extra:], xs, strict=True), extra) if want == 1 != have]
        value = block.value
        if summed:
            value = op.ReduceSum(value, [a + 1 for a in summed], keepdims=1)
        if extra:
            value = op.ReduceSum(value, [a + 1 for a in range(extra)], keepdims=0)
        for a in (*range(extra), *summed):
            if block.axes[a] is UNIFORM:  # stored once, and there as often as the axis is long
                length = self.length(y, a)
                real = ir.DataType.from_numpy(op.real)
                value = op.Mul(value, float(length) if isinstance(length, int) else op.Cast(length, to=real))
        axes = [None if a in summed else axis for a, axis in enumerate(block.axes)][extra:]
        return Block(value, tuple(axes), block.boxes)

    def _numbers(self, value: ir.Value, block: Block) -> int:
        """How many numbers a block has for one box.

        Windows as long as the longest of their proposals count as half of their axis, lengths that are not known as 1.
        """
        count = 1
        for length, axis in zip(self.dims(value), block.axes, strict=True):
            size: Size | None = 1 if axis is UNIFORM else length
            if isinstance(axis, Window):
                size = axis.size if isinstance(axis.size, int) else ((length or 1) + 1) // 2
            count *= size if isinstance(size, int) else 1
        return count
