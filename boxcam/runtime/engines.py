"""Gradient engines: from the features of a layer and the origin of K boxes to the patches of each box."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from boxcam.errors import BoxcamWarning, EngineError
from boxcam.registry import Registry
from boxcam.runtime import scripted
from boxcam.runtime.sessions import Device, Session
from boxcam.runtime.tensors import Tensors
from boxcam.types import Int, Patch

Patches = tuple[Patch, ...]
"""The gradient of one box's target: a patch for each tensor of the layer that it depends on, so none if on none."""


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
"""The first one that a bundle has a file for is what ``auto`` takes."""


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
        self._groups = sorted({int(name.rpartition(".")[2]) for name in self._names})

    def patches(self, tensors: Tensors, features: Sequence[str], context: Sequence[str], origin: Int) -> list[Patches]:
        if not len(origin):
            return []
        given = {name: tensors.ort(name) for name in self._session.inputs if name != "origin"}
        found = self._session.run(Tensors({**given, "origin": origin}), self._names)
        patches: list[list[Patch]] = [[] for _ in origin]
        for group in self._groups:
            gradients = found[f"patches.{group}"]
            uniform = found.get(f"uniform.{group}")
            places, boxes = found[f"place.{group}"].tolist(), found[f"box.{group}"].tolist()
            for m, (box, (tensor, row, y, x)) in enumerate(zip(boxes, places, strict=True)):
                if box >= 0:
                    even = None if uniform is None else uniform[m]
                    patches[box].append(Patch(tensor, row, (y, x), gradients[m], even))
        return [tuple(sorted(of, key=lambda patch: patch.tensor)) for of in patches]


@ENGINES.register("torchscript")
class TorchScriptEngine:
    """The TorchScript module of a bundle: runs ``torch.autograd.grad`` inside; needs torch and nothing else of it.

    It runs on the CPU whatever the device, and says so if that is not what was asked for.
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
            self._module = scripted.load(file)
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
        before = torch.get_num_threads()
        try:
            if self._threads:
                torch.set_num_threads(self._threads)
            # Specialising the module to the sizes of the first calls costs seconds and gains nothing for a few calls.
            with (
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
        finally:
            torch.set_num_threads(before)
        return [
            (Patch(int(tensor), int(row), (int(y), int(x)), np.ascontiguousarray(patch.detach().numpy())),)
            if patch.numel()
            else ()
            for patch, (tensor, row, y, x) in zip(patches, places.tolist(), strict=True)
        ]
