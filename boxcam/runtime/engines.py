"""Gradient engines: from the features of a layer and the origin of K boxes to the patches of each box."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import math
import re
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from boxcam.bundle import PLACES, WEIGHTS
from boxcam.errors import BoxcamWarning, BundleError, EngineError
from boxcam.registry import Registry
from boxcam.runtime.sessions import Device, Session
from boxcam.runtime.tensors import Array, Tensors
from boxcam.types import BOX, ORIGIN, PATCHES, PLACE, UNIFORM, Int, Patch

if TYPE_CHECKING:
    import torch

_GROUP = re.compile(rf"(?:{PATCHES}|{PLACE}|{BOX}|{UNIFORM})\.([0-9]{{1,9}})")
Patches = tuple[Patch, ...]
"""The gradient of one box's target: a patch for each tensor of the layer that it depends on, so none if on none."""
_TYPES = ("float32", "float64", "float16", "int64", "int32", "int16", "int8", "uint8", "bool")
"""Of the weights of a TorchScript module."""


class GradientEngine(Protocol):
    """Computes ∂target/∂feature for K boxes."""

    def patches(self, tensors: Tensors, features: Sequence[str], context: Sequence[str], origin: Int) -> list[Patches]:
        """The patches of each box.

        Args:
            tensors: of a forward pass; ``tensors[name]`` is an array, ``tensors.ort(name)`` ONNX Runtime's value.
            features: names of the layer's tensors.
            context: names of what else of the forward pass the gradient needs, in the layer's order.
            origin: int64 [K, D], which number is each box's target.
        """
        ...


EngineFactory = Callable[[Path, Device], GradientEngine]
"""From the gradient's file and what it is to run on."""

ENGINES: Registry[EngineFactory] = Registry("engine")
"""The first one that a bundle has a file for is what ``auto`` takes, of those that it may."""

AUTOMATIC = ("onnx",)
"""What ``auto`` may take: engines that run no code of the bundle's. The others have to be asked for by name."""


@ENGINES.register("onnx")
class OnnxEngine:
    """The ONNX gradient of a bundle: a graph from values of a forward pass and ``origin`` to patches.

    Its outputs are, for groups of boxes g = 0, 1 …, ``patches.g`` [M, C, h, w], ``place.g`` [M, 4]: feature, row, y0,
    x0, ``box.g`` [M]: which of the K boxes they are of (-1: none), and sometimes ``uniform.g`` [M, C]: see
    `boxcam.types.Patch`.

    Args:
        file: the graph, or its bytes.
        device: what runs it.
    """

    def __init__(self, file: Path | bytes, device: Device | None = None) -> None:
        self._session = Session(file, device or Device())
        self._names = list(self._session.outputs)
        self._groups = self._numbered()

    def patches(self, tensors: Tensors, features: Sequence[str], context: Sequence[str], origin: Int) -> list[Patches]:
        if not len(origin):
            return []
        missing = sorted(set(self._session.inputs) - {*tensors, ORIGIN})
        if missing:
            raise EngineError(
                f"{self._session.file} reads {missing[0]}, which the manifest does not list. Export the model again."
            )
        given = {name: tensors.ort(name) for name in self._session.inputs if name != ORIGIN}
        found = self._session.run(Tensors({**given, ORIGIN: origin}), self._names)
        patches: list[list[Patch]] = [[] for _ in origin]
        for group in self._groups:
            gradients, uniform = found[f"{PATCHES}.{group}"], found.get(f"{UNIFORM}.{group}")
            places, boxes = found[f"{PLACE}.{group}"], found[f"{BOX}.{group}"]
            problem = Group(gradients, places, boxes, uniform).problem(
                [tensors.shape(n) for n in features], len(origin)
            )
            if problem:
                raise EngineError(f"the gradient {self._session.file} is broken: {problem}. Export the model again.")
            for m, (box, (tensor, row, y, x)) in enumerate(zip(boxes.tolist(), places.tolist(), strict=True)):
                if box >= 0:
                    even = None if uniform is None else uniform[m]
                    patches[box].append(Patch(tensor, row, (y, x), gradients[m], even))
        return [tuple(sorted(of, key=lambda patch: patch.tensor)) for of in patches]

    def _numbered(self) -> list[int]:
        """The groups of outputs, each of them complete.

        Raises:
            BundleError: they are not.
        """
        groups = {int(found[1]) for found in map(_GROUP.fullmatch, self._names) if found is not None}
        wanted = {f"{name}.{group}" for group in groups for name in (PATCHES, PLACE, BOX)}
        if not wanted or not wanted <= set(self._names) <= wanted | {f"{UNIFORM}.{group}" for group in groups}:
            raise BundleError(f"{self._session.file} is not a gradient of boxcam's. Export the model again.")
        return sorted(groups)


@dataclass(frozen=True, eq=False)
class Group:
    """The outputs of an ONNX gradient for one group of boxes; see `OnnxEngine`."""

    gradients: Array
    places: Array
    boxes: Array
    uniform: Array | None

    def problem(self, features: Sequence[tuple[int, ...]], count: int) -> str:
        """What is wrong with it, if anything is.

        Args:
            features: shapes of the layer's tensors.
            count: how many boxes there are.
        """
        m = len(self.boxes)
        if self.boxes.ndim != 1 or self.places.shape != (m, 4) or self.gradients.ndim != 4 or len(self.gradients) != m:
            return f"its outputs are {[list(of.shape) for of in (self.gradients, self.places, self.boxes)]}"
        if self.boxes.dtype.kind != "i" or self.places.dtype.kind != "i" or self.gradients.dtype != np.float32:
            return f"its outputs are {[str(of.dtype) for of in (self.gradients, self.places, self.boxes)]}"
        means, shape = self.uniform, self.gradients.shape
        if means is not None and (means.shape != shape[:2] or means.dtype != np.float32):
            return f"its uniform part is {means.dtype} {list(means.shape)}, its patches are {list(shape)}"
        real = self.boxes >= 0
        tensor, row = self.places[real, 0], self.places[real, 1]
        if (self.boxes >= count).any() or (tensor < 0).any() or (tensor >= len(features)).any():
            return "it names a box or a tensor that is not there"
        rows, channels = (np.array([shape[axis] for shape in features], np.int64)[tensor] for axis in (0, 1))
        if (row < 0).any() or (row >= rows).any() or (channels != self.gradients.shape[1]).any():
            return "it names a row that is not there, or has other channels than its tensor"
        return ""


@ENGINES.register("torchscript")
class TorchScriptEngine:
    """The TorchScript module of a bundle: runs ``torch.autograd.grad`` inside; needs torch and nothing else of it.

    A module is a program: it can do whatever PyTorch can, such as write files. It runs on the CPU whatever the device,
    and says so if that is not what was asked for.
    """

    def __init__(self, file: Path, device: Device | None = None) -> None:
        if importlib.util.find_spec("torch") is None:
            raise EngineError(
                'engine="torchscript": PyTorch is needed, and is not installed here. Install it with: pip install'
                " torch (or boxcam's 'torchscript' extra)."
            )
        import torch

        self._file, self._threads = file, device.threads if device else 0
        try:
            self._module = load_module(file)
        except (RuntimeError, ValueError, OSError) as error:
            said = str(error).strip().partition("\n")[0]
            raise EngineError(
                f"{file} cannot be loaded by PyTorch {torch.__version__}: {said.rstrip('.')}. Export the model again,"
                " or update PyTorch."
            ) from error
        self._module.eval()
        if device and device.name != "cpu":
            warnings.warn(
                f'engine="torchscript" computes gradients on the CPU only, not on {device.name}. Use'
                ' engine="onnx" for that.',
                BoxcamWarning,
                stacklevel=2,
            )

    def patches(self, tensors: Tensors, features: Sequence[str], context: Sequence[str], origin: Int) -> list[Patches]:
        import torch

        given = [
            [torch.from_numpy(np.require(tensors[name], requirements=["C", "W"])) for name in group]
            for group in (features, context)
        ]
        try:
            # Specialising the module to the sizes of the first calls costs seconds and gains nothing for a few calls.
            with (
                _threads(self._threads),
                torch.inference_mode(False),
                torch.enable_grad(),
                torch.jit.optimized_execution(False),  # type: ignore[attr-defined]
            ):
                patches, places, _ = self._module(*given, torch.from_numpy(np.ascontiguousarray(origin)))
        except RuntimeError as error:
            said = str(error).strip().splitlines()[-1]
            raise EngineError(
                f"the gradient {self._file} failed: {said.rstrip('.')}. Export the model again."
            ) from error
        try:
            found: list[Patches] = [
                (Patch(int(tensor), int(row), (int(y), int(x)), np.ascontiguousarray(patch.detach().numpy())),)
                if patch.numel()
                else ()
                for patch, (tensor, row, y, x) in zip(patches, places.tolist(), strict=True)
            ]
            for patch in (patch for of in found for patch in of):
                rows, channels = tensors.shape(features[patch.tensor])[:2]
                if min(patch.tensor, patch.row) < 0 or patch.row >= rows or len(patch.gradient) != channels:
                    raise ValueError("a patch is of no feature map of the layer")
            if len(found) != len(origin):
                raise ValueError(f"the number of patches is {len(found)}, and that of boxes {len(origin)}")
        except (ValueError, TypeError, LookupError, AttributeError, RuntimeError) as error:
            raise EngineError(
                f"the gradient {self._file} gives something else than patches: {error}. Export the model again."
            ) from error
        return found


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    """Let PyTorch use so many threads, 0 for as many as it does anyway.

    Their number belongs to the whole process: who sets it runs alone until it is as it was, or the number of one run
    would be what the other puts back.
    """
    import torch

    if not count:
        yield
        return
    with _torch_threads:
        before = torch.get_num_threads()
        torch.set_num_threads(count)
        try:
            yield
        finally:
            torch.set_num_threads(before)


_torch_threads = threading.Lock()


def load_module(file: Path) -> torch.jit.ScriptModule:
    """Read a TorchScript module, its weights mapped into memory from the file `WEIGHTS` next to it.

    Raises:
        RuntimeError: PyTorch cannot read one of the files.
        ValueError: what it says of its weights has no meaning.
    """
    import torch

    extra: dict[str, Any] = {PLACES: ""}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch.jit is deprecated as a whole, and works
        module: torch.jit.ScriptModule = torch.jit.load(str(file), map_location="cpu", _extra_files=extra)
    places = json.loads(extra[PLACES] or "{}")
    if not isinstance(places, dict):
        raise ValueError(f"its {PLACES} is not an object")
    if not places:
        return module
    weights = file.with_name(WEIGHTS)
    everything = torch.from_file(str(weights), shared=False, size=weights.stat().st_size, dtype=torch.uint8)
    buffers = dict(module.named_buffers())
    for name, place in places.items():
        try:
            buffers[name].set_(_tensor(everything, place))  # type: ignore[call-overload]  # not in PyTorch's stubs
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"its weights {name!r} are not described as they should be: {error}") from error
    return module


def _tensor(everything: torch.Tensor, place: dict[str, Any]) -> torch.Tensor:
    """A tensor of the file, or the real numbers that its integers mean: (integers - zero) x scale."""
    found = _view(everything, place)
    if "scale" not in place:
        return found
    if found.is_floating_point():
        raise TypeError(f"{place['type']} needs no scale")
    numbers = found.float()
    if "zero" in place:
        numbers -= _view(everything, place["zero"])
    numbers *= _view(everything, place["scale"])
    return numbers.view(place["real"])


def _view(everything: torch.Tensor, place: dict[str, Any]) -> torch.Tensor:
    """A tensor in the file, which is not copied unless it is to be widened."""
    import torch

    if place["type"] not in _TYPES:
        raise TypeError(f"there is no type {place['type']!r}")
    dtype = getattr(torch, place["type"])
    stored = torch.float16 if place["narrow"] else dtype
    start, length = place["offset"], math.prod(place["shape"]) * stored.itemsize
    if not 0 <= start <= start + length <= len(everything):
        raise TypeError(f"{length} bytes at {start} are not in {WEIGHTS}")
    return everything[start : start + length].view(stored).view(place["shape"]).to(dtype)
