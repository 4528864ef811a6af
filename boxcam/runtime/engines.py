"""Gradient engines: from the features of a layer and the origin of K boxes to one patch per box."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from boxcam.errors import EngineError
from boxcam.registry import Registry
from boxcam.types import Int, Patch

Array = npt.NDArray[Any]


class GradientEngine(Protocol):
    """Computes ∂logit/∂feature for K boxes."""

    def patches(self, features: Sequence[Array], context: Sequence[Array], origin: Int) -> list[Patch]:
        """One patch per box.

        Args:
            features: the layer's tensors, as `forward.onnx` gives them.
            context: what else of the forward pass the gradient needs, in the layer's order.
            origin: int64 [K, D], which logit made each box.
        """
        ...


EngineFactory = Callable[[Path, int], GradientEngine]
"""From the gradient's file and the number of threads (0: as many as there are cores)."""

ENGINES: Registry[EngineFactory] = Registry("engine")
"""The first one that a bundle has a file for is what ``auto`` takes."""


@ENGINES.register("torchscript")
class TorchScriptEngine:
    """The TorchScript module of a bundle: runs ``torch.autograd.grad`` inside; needs torch and nothing else of it."""

    def __init__(self, file: Path, threads: int = 0) -> None:
        if importlib.util.find_spec("torch") is None:
            raise EngineError(
                "the torchscript engine needs torch, which is not installed here: pip install torch"
                " (boxcam's 'torchscript' extra)."
            )
        import torch

        self._file, self._threads = file, threads
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # torch.jit is deprecated as a whole, and works
                self._module = torch.jit.load(str(file), map_location="cpu")
        except RuntimeError as error:
            said = str(error).strip().partition("\n")[0]
            raise EngineError(f"{file} cannot be loaded by torch {torch.__version__}: {said}") from error
        self._module.eval()

    def patches(self, features: Sequence[Array], context: Sequence[Array], origin: Int) -> list[Patch]:
        import torch

        given = [
            [torch.from_numpy(np.require(a, requirements=["C", "W"])) for a in group] for group in (features, context)
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
            raise EngineError(f"the gradient {self._file} failed: {said}. Export the model again.") from error
        finally:
            torch.set_num_threads(before)
        return [
            Patch(int(tensor), int(row), (int(y), int(x)), np.ascontiguousarray(patch.detach().numpy()))
            for patch, (tensor, row, y, x) in zip(patches, places.tolist(), strict=True)
        ]
