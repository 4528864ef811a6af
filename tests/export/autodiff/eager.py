"""A graph whose values are known as it grows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import TensorProto

from tests.export.autodiff.differences import evaluator
from tests.export.export_graphs import Net

_MARGIN = 1e-4  # of a kink or a tie; a hundred times the step of a difference
Draw = Callable[[st.SearchStrategy[Any]], Any]
Operand = str | np.ndarray | None


@dataclass
class Eager:
    """A graph in float64 whose values are known as it grows."""

    draw: Draw
    opset: int
    seed: int
    most: int = 200  # numbers of a value that is used again
    net: Net = field(init=False)
    values: dict[str, np.ndarray] = field(default_factory=dict)
    pool: list[str] = field(default_factory=list)
    unused: dict[str, None] = field(default_factory=dict)
    inputs: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.net = Net(self.opset)
        self.rng = np.random.default_rng(self.seed)

    def input(self, shape: Sequence[int]) -> str:
        name = self.net.input(f"x{len(self.inputs)}", shape, TensorProto.DOUBLE)
        self.values[name] = self.rng.standard_normal(shape)
        self.inputs.append(name)
        self.pool.append(name)
        self.unused[name] = None
        return name

    def __getattr__(self, kind: str) -> Callable[..., str]:
        if not kind[0].isupper():
            raise AttributeError(kind)
        return lambda *operands, **attributes: self.node(kind, operands, 1, **attributes)[0]

    def node(self, kind: str, operands: Sequence[Operand], outputs: int = 1, **attributes: Any) -> list[str]:
        """Write one node; arrays become constants."""
        names = [o if o is None or isinstance(o, str) else self.constant(o) for o in operands]
        found = self.net.node(kind, names, outputs, **attributes)
        alone = onnx.helper.make_graph(
            [self.net.nodes[-1]],
            "alone",
            [onnx.ValueInfoProto(name=n) for n in dict.fromkeys(names) if n],
            [onnx.ValueInfoProto(name=n) for n in found],
        )
        opsets = [onnx.helper.make_opsetid("", self.opset)]
        model = onnx.helper.make_model(alone, opset_imports=opsets, ir_version=10)
        results = evaluator(model).run(None, {n: self.values[n] for n in names if n})
        for name, result in zip(found, results, strict=True):
            self.values[name] = np.asarray(result)
            assert np.isfinite(self.values[name]).all(), f"{kind} leaves the finite numbers"
        for name in names:
            self.unused.pop(name or "", None)
        return found

    def constant(self, array: np.ndarray) -> str:
        name = self.net.constant(array, keep=True)
        self.values[name] = np.asarray(array)
        return name

    def normal(self, *shape: int) -> np.ndarray:
        return self.rng.standard_normal(shape)

    def add(self, name: str) -> None:
        """Take a value into the pool, scaled to a moderate size."""
        value = self.values[name]
        largest = float(np.abs(value).max(initial=0.0))
        if largest > 3 or 1e-3 < largest < 0.1:  # what is 0 but for rounding errors stays so
            name = self.Mul(name, np.array(1 / largest))
        self.unused[name] = None
        if value.size <= self.most:
            self.pool.append(name)

    def fits(self, one: Sequence[int], other: Sequence[int]) -> bool:
        """Whether two shapes broadcast to one that is not too large."""
        try:
            return math.prod(np.broadcast_shapes(tuple(one), tuple(other))) <= self.most
        except ValueError:
            return False

    # -- what is chosen

    def shape(self, name: str) -> tuple[int, ...]:
        return self.values[name].shape

    def one(self, options: Sequence[Any]) -> Any:
        return self.draw(st.sampled_from(list(options)))

    def number(self, low: int, high: int) -> int:
        return int(self.draw(st.integers(low, high)))

    def yes(self) -> bool:
        return bool(self.draw(st.booleans()))

    def axis(self, name: str) -> int:
        """One of all axes, counted from either end."""
        rank = len(self.shape(name))
        return self.number(-rank, rank - 1)

    def some_axes(self, name: str) -> list[int]:
        rank = len(self.shape(name))
        return sorted(self.draw(st.sets(st.integers(0, rank - 1), min_size=1)))

    # -- away from kinks

    def clear(self, name: str, *points: float) -> str:
        """The value, moved so that no number is near some points."""
        value = self.values[name]
        bad = np.sort(np.concatenate([p - value.reshape(-1) for p in points]))
        edges = np.concatenate([[bad[0] - 1], bad, [bad[-1] + 1]])
        gaps = np.diff(edges) > 4 * _MARGIN
        middles = ((edges[1:] + edges[:-1]) / 2)[gaps]
        return self.Add(name, np.array(middles[np.abs(middles).argmin()]))

    def apart(self, name: str) -> str:
        """The value, and something added if its numbers are not all different."""
        while not _different(self.values[name]):
            name = self.Add(name, self.normal(*self.shape(name)))
        return name

    def positive(self, name: str) -> str:
        return self.Add(self.Mul(name, name), np.array(0.5))

    def partner(self, name: str) -> str | np.ndarray:
        """Something that broadcasts with a value: itself, another one, its mean over some axes, a constant."""
        shape = self.shape(name)
        fitting = [n for n in self.pool if self.fits(self.shape(n), shape)]
        kind = self.number(0, 2)
        if kind == 0:
            return str(self.one(fitting))
        if kind == 1 and shape:
            return self.ReduceMean(name, np.array(self.some_axes(name)), keepdims=1)
        kept = self.number(0, len(shape))
        return self.normal(*(n if self.yes() else 1 for n in shape[kept:]))


def _different(value: np.ndarray) -> bool:
    return value.size < 2 or float(np.diff(np.sort(value.reshape(-1))).min()) > 3 * _MARGIN / 100
