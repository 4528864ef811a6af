"""The framework's counterparts of a deployed graph's tensors, found by their values, and autograd through them.

While the live model runs, every tensor that a torch function returns is seen. The one that holds the same numbers as a
tensor of logits, in whatever layout, is its counterpart; the numbers at the boxes' origins are taken out of it, with
the graph behind them. A layer's tensors are found in the same way among what its modules give.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.overrides import TorchFunctionMode

from tests.matrix.registry import Inputs, Place

Array = npt.NDArray[Any]
Index = npt.NDArray[np.int64]

_CLOSE = 2e-3
"""Largest difference of two tensors that are the same, as a share of the range of their values."""


def same(mine: Array, theirs: Array, close: float = _CLOSE) -> Index | None:
    """For each element of ``mine``, which element of ``theirs``, counted flat, holds its number; None if it is another.

    All that transposes and reshapes can make of a tensor is tried: axes moved and then joined or split, or the other
    way round.
    """
    if mine.size != theirs.size or not mine.size:
        return None
    spread = float(np.ptp(mine)) or 1.0
    limit = close * spread
    if not np.isfinite(theirs).all() or abs(float(mine.mean(dtype=np.float64) - theirs.mean(dtype=np.float64))) > limit:
        return None
    tried: set[bytes] = set()
    for index in _layouts(mine.shape, theirs.shape):
        key = index.ravel()[:: max(index.size // 1024, 1)].tobytes()
        if key not in tried and float(np.abs(theirs.ravel()[index] - mine).max()) <= limit:
            return index
        tried.add(key)
    return None


def same_or_part(mine: Array, theirs: Array) -> Index | None:
    """As `same`; of tokens ``theirs`` [1, T, C] the first ones, which stand for no cell, may be missing in ``mine``."""
    if theirs.ndim != 3 or theirs.size == mine.size or mine.size % theirs.shape[2]:
        return same(mine, theirs)
    first = theirs.shape[1] - mine.size // theirs.shape[2]
    if first < 0 or (index := same(mine, theirs[:, first:])) is None:
        return None
    return index + first * theirs.shape[2]


def _layouts(mine: Sequence[int], theirs: Sequence[int]) -> Iterator[Index]:
    size = math.prod(mine)
    order = np.arange(size, dtype=np.int64)
    yield order.reshape(mine)
    for shape, inverse in ((theirs, False), (mine, True)):
        axes = [n for n in shape if n != 1]
        for moved in itertools.islice(itertools.permutations(range(len(axes))), 1, None):
            index = order.reshape(axes).transpose(moved).ravel()
            if inverse:
                index, turned = np.empty_like(index), index
                index[turned] = order
            yield index.reshape(mine)


class Watch(TorchFunctionMode):
    """Within it the counterparts of some tensors are looked for, and the numbers at some positions taken out.

    Args:
        wanted: the tensors.
        positions: for each of them, flat positions in it.
    """

    def __init__(self, wanted: Sequence[Array], positions: Sequence[Index]) -> None:
        super().__init__()
        self.wanted, self.positions = wanted, positions
        self.taken: dict[int, torch.Tensor] = {}
        self._sizes = {array.size for array in wanted}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tensors_in(result):
            self._look(tensor)
        return result

    def _look(self, tensor: torch.Tensor) -> None:
        if tensor.numel() not in self._sizes or not tensor.is_floating_point():
            return
        values = tensor.detach().numpy()
        for number, array in enumerate(self.wanted):
            if number in self.taken or (index := same(array, values)) is None:
                continue
            chosen = torch.from_numpy(index.ravel()[self.positions[number]])
            # At once: what comes after may write into the tensor.
            self.taken[number] = tensor.reshape(-1)[chosen]
            return


def tensors_in(result: Any) -> list[torch.Tensor]:
    """All tensors in a nest of tuples, lists and mappings, in order."""
    if isinstance(result, torch.Tensor):
        return [result]
    if isinstance(result, Mapping):
        return [tensor for value in result.values() for tensor in tensors_in(value)]
    if isinstance(result, (list, tuple)):
        return [tensor for value in result for tensor in tensors_in(value)]
    return []


@contextlib.contextmanager
def cut_at(places: Sequence[Place], given: Sequence[Array] = ()) -> Iterator[list[torch.Tensor]]:
    """Within the block all tensors of the places are leaves that gradients can be asked for; the list holds them.

    Those that hold the same numbers as one of the given arrays, but for rounding, take its numbers.
    """
    leaves: list[torch.Tensor] = []

    def leaf(tensor: torch.Tensor) -> torch.Tensor:
        if not tensor.is_floating_point():
            return tensor
        value = tensor.detach().clone()
        for array in given:
            index = same_or_part(array, value.numpy())
            if index is not None:
                value.reshape(-1)[torch.from_numpy(index.ravel())] = torch.from_numpy(np.array(array).ravel())
        leaves.append(value.requires_grad_(True))
        return leaves[-1].clone()  # which may be written into

    def outputs(_: torch.nn.Module, inputs: Any, output: Any) -> Any:
        return _replaced(output, leaf)

    def inputs(_: torch.nn.Module, given: Any) -> Any:
        return _replaced(given, leaf)

    with contextlib.ExitStack() as stack:
        for place in places:
            if isinstance(place, Inputs):
                handle = place.module.register_forward_pre_hook(inputs)
            else:
                handle = place.register_forward_hook(outputs)
            stack.callback(handle.remove)
        yield leaves


def _replaced(nest: Any, by: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    if isinstance(nest, torch.Tensor):
        return by(nest)
    if isinstance(nest, Mapping):
        return type(nest)((key, _replaced(value, by)) for key, value in nest.items())  # type: ignore[call-arg]
    if isinstance(nest, (list, tuple)):
        return type(nest)([_replaced(value, by) for value in nest])  # type: ignore[call-arg]
    return nest


@contextlib.contextmanager
def plain_batch_norm(model: torch.nn.Module) -> Iterator[None]:
    """BatchNorm multiplies and adds within the block: PyTorch's CPU gradient of it can be wrong for a batch of one."""

    def affine(norm: Any, x: torch.Tensor) -> torch.Tensor:
        scale = torch.rsqrt(norm.running_var + norm.eps)
        shift = -norm.running_mean * scale
        if norm.affine:
            scale, shift = scale * norm.weight, shift * norm.weight + norm.bias
        shape = [1, -1, *[1] * (x.ndim - 2)]
        return x * scale.reshape(shape) + shift.reshape(shape)

    norms = [m for m in model.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm) and not m.training]
    for norm in norms:
        norm.forward = affine.__get__(norm)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for norm in norms:
            del norm.forward
