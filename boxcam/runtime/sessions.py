"""ONNX Runtime's sessions: the one place that opens them, for graphs that explaining runs.

What ``device`` means: ``cpu`` asks for the CPU's execution provider, ``cuda`` for CUDA's with the CPU's behind it.
Where CUDA was asked for and cannot be had, a `BoxcamWarning` says so and why, and the CPU does the work: never the one
without the other. Other providers are chosen by the names that ONNX Runtime gives them.

``onnxruntime`` and ``onnxruntime-gpu`` install into the same folder, so with both there the files of one lie among
those of the other. It is an error if ONNX Runtime does not work or lacks the CUDA that was asked for, since that is
then the cause; otherwise it is a warning.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import io
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from boxcam.arguments import is_whole, several
from boxcam.errors import (
    ArgumentError,
    BoxcamWarning,
    BundleError,
    EngineError,
    RunError,
    UnknownNameError,
)
from boxcam.runtime import interruptible
from boxcam.runtime.failures import reason
from boxcam.runtime.telemetry import import_onnxruntime
from boxcam.runtime.tensors import Tensors

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
DEVICES: Mapping[str, tuple[str, ...]] = {"cpu": (CPU,), "cuda": (CUDA, CPU)}
"""Execution providers by device, the preferred one first."""
OTHER_DEVICES: Mapping[str, str] = {"gpu": "cuda", "cuda:0": "cuda", "nvidia": "cuda"}
"""What other packages call them."""
_ON_CUDA = {CUDA, "TensorrtExecutionProvider", "NvTensorRTRTXExecutionProvider"}
"""Providers whose tensors lie in the memory that ONNX Runtime calls ``cuda``."""
_DEVICE_OF = {"cpu": {CPU}, "cuda": _ON_CUDA}
_PROVIDER = "ExecutionProvider"
OPTIONS: Mapping[str, Mapping[str, str]] = {CUDA: {"use_tf32": "0"}}
"""Of execution providers. TF32, which ONNX Runtime uses by default where a GPU has it, keeps 10 of float32's 23 bits of
a number's digits in convolutions and products of matrices: maps would depend on which GPU computed them."""
_NUMBERS = {
    *("tensor(float)", "tensor(double)", "tensor(float16)", "tensor(bool)"),
    *(f"tensor({sign}int{bits})" for sign in ("", "u") for bits in (8, 16, 32, 64)),
}
"""What ONNX Runtime calls tensors of numbers that numpy has too."""
_LONGEST = 200
MOST_THREADS = 1024
"""More of them than any computer has cores are a mistake, and ONNX Runtime would start each."""
_RIVALS = ("onnxruntime", "onnxruntime-gpu")


@dataclass(frozen=True)
class Device:
    """What runs a graph.

    Attributes:
        name: ``cpu`` or ``cuda``.
        threads: CPU threads to use, 0 for as many as there are cores.
        providers: names of ONNX Runtime's execution providers, the preferred one first, instead of the device's own;
            what they cannot run, the CPU runs.

    Raises:
        UnknownNameError: there is no such device.
        ArgumentError: the number of threads is negative or beyond reason, or something is of another type.
    """

    name: str = "cpu"
    threads: int = 0
    providers: str | Sequence[str] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or self.name not in DEVICES:
            raise UnknownNameError.of("device", self.name, DEVICES, OTHER_DEVICES)
        if not is_whole(self.threads) or not 0 <= self.threads <= MOST_THREADS:
            raise ArgumentError(
                f"threads={self.threads!r} is not a whole number from 0 (all cores) to {MOST_THREADS}. Pass one."
            )
        object.__setattr__(self, "threads", int(self.threads))
        given = several(self.providers)
        if not all(isinstance(name, str) for name in given):
            raise ArgumentError(
                f"providers={self.providers!r} is not a name, or several. Pass those of ONNX Runtime's execution"
                f" providers, such as {CPU!r}, or leave it out."
            )
        object.__setattr__(self, "providers", given)

    @property
    def wanted(self) -> tuple[str, ...]:
        """The execution providers to ask for, the preferred one first; the CPU's is always the last resort."""
        return tuple(dict.fromkeys((*self.providers, CPU))) if self.providers else DEVICES[self.name]


class Session:
    """An open graph; runs as often as one likes.

    Attributes:
        file: the graph, or a word for it.
        providers: the execution providers that it got.
        inputs, outputs: shapes by name; a dimension that is not fixed is a name or None.
        types: of the inputs and outputs by name, as ONNX Runtime writes them: ``tensor(float)``.
    """

    def __init__(self, file: Path | bytes, device: Device) -> None:
        """Open a graph, a file or its bytes.

        Raises:
            EngineError: ONNX Runtime is not installed, or twice.
            UnknownNameError: it has no such execution provider.
            BundleError: it cannot load the file, or an input or output is no tensor of numbers.
        """
        graph = file if isinstance(file, bytes) else str(file)
        self.file = "the graph" if isinstance(file, bytes) else str(file)
        runtime = _onnxruntime()
        available = tuple(runtime.get_available_providers())
        wanted = _available(device, available)
        options = runtime.SessionOptions()
        options.intra_op_num_threads = device.threads
        options.log_severity_level = 3
        # Threads that spin after a run, in wait of the next, slow down the gradient's session and numpy 1.5 to 3 times.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        # A quantized model runs as its graph says, and as it was verified: kernels for int8 round elsewhere, and each
        # processor in its own way.
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        # Planning which buffers to share takes time by the square of the operators, minutes for the 20,000 of a loop
        # over classes; runs are as fast without, and take as much memory, since what is read no more is freed anyway.
        options.enable_mem_reuse = False
        if CUDA in wanted and hasattr(runtime, "preload_dlls"):
            with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does not find
                runtime.preload_dlls()  # finds CUDA and cuDNN where pip has put them
        failed: dict[str, str] = {}  # why, by provider
        while True:
            rest = [name for name in wanted if name not in failed]
            try:
                self._session = interruptible.run(partial(_open, runtime, graph, options, rest), stop=lambda: None)
                break
            except Exception as error:  # onnxruntime's own errors share no public root
                if rest == [CPU]:
                    said = " ".join(str(error).split()).rstrip(".")
                    raise BundleError(
                        f"{self.file} cannot be loaded by ONNX Runtime {runtime.__version__}: {said}. Export the"
                        " model again, or update ONNX Runtime."
                    ) from error
                failed[rest[0]] = reason(error)
        self._options = runtime.RunOptions
        self.providers = tuple(self._session.get_providers())
        for name in wanted:
            if name not in self.providers:
                why = failed.get(name) or missing_library(runtime, name) or "its libraries or its hardware are missing"
                _warn_of_fallback(name, f"it could not be started: {why}")
        self._memory = "cuda" if _ON_CUDA.intersection(self.providers) else "cpu"
        self.inputs = {value.name: tuple(value.shape) for value in self._session.get_inputs()}
        self.outputs = {value.name: tuple(value.shape) for value in self._session.get_outputs()}
        values = (*self._session.get_inputs(), *self._session.get_outputs())
        self.types: dict[str, str] = {value.name: value.type for value in values}
        for name, kind in self.types.items():
            if kind not in _NUMBERS:
                raise BundleError(
                    f"{self.file}: {shown(name)} is {kind}, and not a tensor of numbers. Export the model again."
                )

    def run(self, feeds: Tensors, outputs: Sequence[str], keep: Collection[str] = ()) -> Tensors:
        """Run the graph once; nothing is copied that does not have to go from one memory to another.

        Args:
            feeds: the graph's inputs; what else is in them is ignored.
            outputs: names of the outputs to compute.
            keep: those that go on into another graph: on a GPU they stay there until they are read.

        Raises:
            RunError: the run failed.
        """
        given = {name: feeds.ort(name) for name in self.inputs}
        binding = self._session.io_binding()
        try:
            for name, value in given.items():
                binding.bind_ortvalue_input(name, value)
            for name in outputs:
                binding.bind_output(name, self._memory if name in keep else "cpu")
            run_options = quiet_run(self._options())
            interruptible.run(
                lambda: self._session.run_with_iobinding(binding, run_options), stop=partial(terminate, run_options)
            )
        except Exception as error:  # onnxruntime's own errors share no public root
            raise RunError(
                f"{self.file} failed in ONNX Runtime ({', '.join(self.providers)}): {reason(error)}."
            ) from error
        return Tensors(dict(zip(outputs, binding.get_outputs(), strict=True)))

    @property
    def device(self) -> str:
        """What it runs on: ``cpu``, ``cuda``, or the word for it in the name of another execution provider."""
        first = self.providers[0]
        return next((name for name, of in _DEVICE_OF.items() if first in of), first.removesuffix(_PROVIDER).lower())


def _open(runtime: Any, graph: str | bytes, options: Any, providers: Sequence[str]) -> Any:
    """A session of ONNX Runtime, which is not to open another one by itself if it fails: it would print that."""
    asked = [(name, dict(OPTIONS[name])) if name in OPTIONS else name for name in providers]
    return runtime.InferenceSession(graph, options, providers=asked, enable_fallback=0)


def missing_library(runtime: Any, provider: str) -> str:
    """What the system's loader says if an execution provider's own library cannot be loaded; nothing if it can.

    ONNX Runtime logs it, and goes on without the provider.
    """
    stem = provider.removesuffix(_PROVIDER).lower()
    library = Path(getattr(runtime, "__file__", None) or "").parent / "capi" / f"libonnxruntime_providers_{stem}.so"
    if not library.is_file():
        return ""
    try:
        ctypes.CDLL(str(library))
    except OSError as error:
        return str(error)
    return ""


def shown(name: str) -> str:
    """A name out of a graph, for messages, which names may be longer than."""
    return name if len(name) <= _LONGEST else f"{name[:_LONGEST]}…"


def quiet_run(options: Any) -> Any:
    """Options of one run, which logs nothing: a run that fails raises what it would log."""
    options.log_severity_level = 4
    return options


def terminate(options: Any) -> None:
    """Tell the run that has these options to end after the operator that is at work."""
    options.terminate = True


def _onnxruntime() -> Any:
    """The package, if it is there once.

    Raises:
        EngineError: it is not there, or does not work.
    """
    both = _both_installed()
    try:
        # By another thread, as native code: a signal in the midst of it would be an ImportError, and leave half of it.
        onnxruntime = interruptible.run(import_onnxruntime, stop=lambda: None)
        onnxruntime.InferenceSession  # noqa: B018 - what is left of the folder of an uninstalled one can be imported
    except (ImportError, AttributeError) as error:
        if both:
            raise EngineError(both) from error
        if isinstance(error, ModuleNotFoundError) and error.name == "onnxruntime":
            raise EngineError(
                "ONNX Runtime is needed, and is not installed here. Install it with: pip install 'boxcam[cpu]' (or"
                " 'boxcam[gpu]')."
            ) from error
        raise EngineError(
            f"the installation of ONNX Runtime is broken here ({error}). Repair it with: pip uninstall onnxruntime"
            " onnxruntime-gpu, then pip install 'boxcam[cpu]' (or 'boxcam[gpu]')."
        ) from error
    if both:
        _warn(both)
    return onnxruntime


def _both_installed() -> str:
    """What to say if ONNX Runtime's two distributions are in each other's way; nothing if not.

    They are if both have left their record beside the package. (`importlib.metadata` would ask the whole path, and
    takes 25 ms to import.)
    """
    spec = importlib.util.find_spec("onnxruntime")
    folders = {Path(place).parent for place in (spec and spec.submodule_search_locations) or ()}
    records = sorted(file.stem.split("-")[:2] for folder in folders for file in folder.glob("onnxruntime*-*.dist-info"))
    found = [f"{name.replace('_', '-')} {version}" for name, version in records if name.replace("_", "-") in _RIVALS]
    if len(found) < 2:
        return ""
    return (
        f"{' and '.join(found)} are both installed here and overwrite each other's files. Repair it with: pip uninstall"
        f" {' '.join(_RIVALS)}, then pip install 'boxcam[cpu]' or 'boxcam[gpu]', not both."
    )


def _available(device: Device, available: Sequence[str]) -> tuple[str, ...]:
    """The providers to ask for; says so if CUDA is not among them although it was asked for.

    Raises:
        UnknownNameError: ONNX Runtime has no provider of a name that was given.
        EngineError: CUDA is lacking because of a second ONNX Runtime.
    """
    for name in device.wanted:
        if name in available:
            continue
        if name == CUDA and (both := _both_installed()):
            raise EngineError(f"ONNX Runtime has no {CUDA} here: {both}")
        if name in device.providers:
            raise UnknownNameError(
                f"ONNX Runtime has no execution provider {name!r} here. Pass providers= one of: {', '.join(available)}."
            )
        _warn_of_fallback(
            name,
            f"ONNX Runtime has only {', '.join(available)} here. On an NVIDIA GPU: pip uninstall onnxruntime, then"
            " pip install 'boxcam[gpu]'",
        )
    return tuple(name for name in device.wanted if name in available)


def _warn_of_fallback(provider: str, why: str) -> None:
    _warn(f"{provider} is not available, so the CPU is used instead: {why}.")


def _warn(text: str) -> None:
    warnings.warn(text, BoxcamWarning, stacklevel=2)
