"""Any sequence of selection operators is followed back, as numpy does the same to the logits' numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.export.export_graphs import Net
from tests.export.trace.ways import SCORES, activated, distinct, level, run_traced


@dataclass
class Walk:
    """A random sequence of operators, written as ONNX and done by numpy on the logits' numbers (-1 for a filler)."""

    net: Net
    draw: st.DataObject
    value: str
    ids: np.ndarray
    scores: np.ndarray  # of each logit by its number; a filler's is 0, which is last

    def pick(self, low: int, high: int) -> int:
        return self.draw.draw(st.integers(low, high))

    def axis(self) -> tuple[int, int]:
        """An axis, and the same axis as it is written: from either end."""
        axis = self.pick(0, self.ids.ndim - 1)
        return axis, axis - self.pick(0, 1) * self.ids.ndim

    def to(self, value: str, ids: np.ndarray) -> None:
        self.value, self.ids = value, ids

    def indices(self, count: int, size: int) -> np.ndarray:
        return np.array([self.pick(-size, size - 1) for _ in range(count)], np.int64)

    def transpose(self) -> None:
        order = self.draw.draw(st.permutations(range(self.ids.ndim)))
        self.to(self.net.Transpose(self.value, perm=order), self.ids.transpose(order))

    def reshape(self) -> None:
        sizes = [size for size in range(1, 5) if self.ids.size % size == 0]
        shape = [self.draw.draw(st.sampled_from(sizes)), -1]
        self.to(self.net.Reshape(self.value, np.array(shape)), self.ids.reshape(shape))

    def unsqueeze(self) -> None:
        if self.ids.ndim < 4:
            axis = self.pick(0, self.ids.ndim)
            self.to(self.net.Unsqueeze(self.value, np.array([axis])), np.expand_dims(self.ids, axis))

    def flatten(self) -> None:
        axis = self.pick(0, self.ids.ndim)
        shape = (int(np.prod(self.ids.shape[:axis])), -1)
        self.to(self.net.Flatten(self.value, axis=axis), self.ids.reshape(shape))

    def slice(self) -> None:
        axis, written = self.axis()
        size = self.ids.shape[axis]
        start, step = self.pick(-size - 2, size - 1), self.pick(1, 2)
        if len(range(size)[start::step]) == 0:
            return
        ends = np.array([2**63 - 1])
        value = self.net.Slice(self.value, np.array([start]), ends, np.array([written]), np.array([step]))
        self.to(value, self.ids[(slice(None),) * axis + (slice(start, None, step),)])

    def reverse(self) -> None:
        axis, written = self.axis()
        limits = np.array([2**63 - 1]), np.array([-(2**63)])
        self.to(
            self.net.Slice(self.value, *limits, np.array([written]), np.array([-1])),
            np.flip(self.ids, axis),
        )

    def gather(self) -> None:
        axis, written = self.axis()
        indices = self.indices(self.pick(1, 4), self.ids.shape[axis])
        if self.pick(0, 1) and self.ids.ndim < 4:
            indices = indices[None]
        self.to(self.net.Gather(self.value, indices, axis=written), np.take(self.ids, indices, axis))

    def gather_elements(self) -> None:
        axis, written = self.axis()
        indices = self.indices(self.ids.size, self.ids.shape[axis]).reshape(self.ids.shape)
        value = self.net.GatherElements(self.value, indices, axis=written)
        self.to(value, np.take_along_axis(self.ids, indices % self.ids.shape[axis], axis))

    def gather_nd(self) -> None:
        indices = np.stack([self.indices(3, size) for size in self.ids.shape[:2]], 1)
        self.to(self.net.GatherND(self.value, indices), self.ids[tuple(indices.T)])

    def concat(self) -> None:
        axis, written = self.axis()
        if self.ids.size < 60:
            zeros, nothing = np.zeros(self.ids.shape, np.float32), np.full(self.ids.shape, -1)
            self.to(
                self.net.Concat(self.value, zeros, self.value, axis=written),
                np.concatenate([self.ids, nothing, self.ids], axis),
            )

    def split(self) -> None:
        axis, written = self.axis()
        size = self.ids.shape[axis]
        if size > 1:
            first = self.pick(1, size - 1)
            parts = self.net.node("Split", [self.value, np.array([first, size - first])], outputs=2, axis=written)
            number = self.pick(0, 1)
            self.to(parts[number], np.split(self.ids, [first], axis)[number])

    def reduce_max(self) -> None:
        axis, written = self.axis()
        keep = self.pick(0, 1) or self.ids.ndim == 1
        winner = self.scores[self.ids].argmax(axis)
        ids = np.take_along_axis(self.ids, np.expand_dims(winner, axis), axis)
        value = self.net.ReduceMax(self.value, np.array([written]), keepdims=int(keep))
        self.to(value, ids if keep else ids.squeeze(axis))

    def top_k(self) -> None:
        axis, written = self.axis()
        count = self.pick(1, self.ids.shape[axis])
        order = np.argsort(-self.scores[self.ids], axis, kind="stable").take(range(count), axis)
        self.to(
            self.net.node("TopK", [self.value, np.array([count])], outputs=2, axis=written)[0],
            np.take_along_axis(self.ids, order, axis),
        )

    def scatter_nd(self) -> None:
        rows = np.unique(self.indices(2, self.ids.shape[0]) % self.ids.shape[0])
        updates = self.net.Gather(self.value, rows[::-1].copy(), axis=0)
        ids = self.ids.copy()
        ids[rows] = self.ids[rows[::-1]]
        self.to(self.net.ScatterND(self.value, rows[:, None], updates), ids)

    def scatter_elements(self) -> None:
        axis, written = self.axis()
        size = self.ids.shape[axis]
        indices = np.broadcast_to(
            np.expand_dims(np.arange(size)[::-1], tuple(range(1, self.ids.ndim))),
            (size, *np.delete(self.ids.shape, axis)),
        )
        indices = np.moveaxis(indices, 0, axis)[(slice(0, 1),) * self.ids.ndim].copy()
        ids = self.ids.copy()
        np.put_along_axis(
            ids[(slice(0, 1),) * axis + (slice(None),) + (slice(0, 1),) * (ids.ndim - axis - 1)], indices, -1, axis
        )
        zeros = np.zeros(indices.shape, np.float32)
        self.to(self.net.ScatterElements(self.value, indices, zeros, axis=written), ids)

    def where(self) -> None:
        mask = np.array([self.pick(0, 1) for _ in range(self.ids.shape[-1])], bool)
        other, numbers = (self.value, self.ids) if self.pick(0, 1) else (np.float32(0), np.array(-1))
        value = self.net.Reshape(self.net.Where(mask, self.value, other), np.array(self.ids.shape))
        self.to(value, np.where(mask, self.ids, numbers))

    def expand(self) -> None:
        if self.ids.size <= 20 and self.ids.ndim < 4:
            self.to(
                self.net.Expand(self.value, np.array([2] + [1] * self.ids.ndim)),
                np.broadcast_to(self.ids, (2, *self.ids.shape)),
            )

    def tile(self) -> None:
        if self.ids.size <= 20:
            repeats = [2, *[1] * (self.ids.ndim - 1)]
            self.to(self.net.Tile(self.value, np.array(repeats)), np.tile(self.ids, repeats))


STEPS = [name for name, step in vars(Walk).items() if callable(step) and name[0] != "_"]
STEPS = [name for name in STEPS if name not in ("pick", "axis", "to", "indices")]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
def test_any_sequence_of_operators_is_followed_back(data: st.DataObject) -> None:
    shape = tuple(data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=3)))
    open_sizes = data.draw(st.booleans())
    logits = distinct((shape,))[0]
    net = Net()
    start = level(net, 0, [f"d{a}" for a in range(len(shape))] if open_sizes else shape, "Sigmoid", -1)
    known = np.append(activated(logits, "Sigmoid", -1).reshape(-1), 0.0)
    walk = Walk(net, data, start, np.arange(logits.size).reshape(shape), known)
    for name in data.draw(st.lists(st.sampled_from(STEPS), min_size=1, max_size=6)):
        getattr(walk, name)()
    net.node("Reshape", [walk.value, np.array([-1])], name=SCORES)
    ids = walk.ids.reshape(-1)
    model, feeds = net.model([SCORES]), {"x0": logits - np.float32(0.25)}
    if (ids < 0).all():
        assume(False)
    results, _ = run_traced(model, feeds)
    np.testing.assert_allclose(results[SCORES], known[ids], atol=1e-6)  # numpy did what the operators do
    expected = [[0, *np.unravel_index(i, shape)] if i >= 0 else [-1] + [0] * len(shape) for i in ids]
    assert results["origin"].tolist() == np.array(expected).tolist()
    np.testing.assert_array_equal(results["logit"], np.where(ids < 0, 0, results["logits0"].reshape(-1)[ids]))
