"""Check and measure ``--device cuda`` against the CPU, on a machine with an NVIDIA GPU.

    python benchmarks/cuda.py BUNDLE... [--image PICTURE.jpg] [--json RESULTS.json]        or: make gpu

It needs boxcam with its `gpu` extra and nothing else. The exit code is 1 if the GPU does other than it should: other
boxes, other maps, a session that fell back to the CPU, or work that cannot be interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import boxcam  # noqa: E402
from benchmarks.timing import median, timed  # noqa: E402
from boxcam.bundle import SAMPLE  # noqa: E402
from boxcam.errors import BoxcamWarning, EngineError, UnknownLayerError, UnknownNameError  # noqa: E402
from boxcam.runtime import sessions  # noqa: E402
from boxcam.runtime.sessions import CUDA  # noqa: E402

TOLERANCE = 1e-3
"""Of a map's peak: what maps may differ by between the two devices."""
LATEST = 1.5
"""Seconds that an interrupted process may take to end."""
VARIANTS = {
    "as boxcam runs it": dict(sessions.OPTIONS.get(CUDA, {})),
    "with TF32": {"use_tf32": "1"},
    "with TF32, heuristic search": {"use_tf32": "1", "cudnn_conv_algo_search": "HEURISTIC"},
    "without TF32, exhaustive search": {"use_tf32": "0", "cudnn_conv_algo_search": "EXHAUSTIVE"},
    "without TF32, heuristic search": {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"},
}
"""Options of the CUDA provider that are compared."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    import onnxruntime

    warnings.simplefilter("ignore", BoxcamWarning)  # that a map is empty
    found: dict[str, Any] = {"machine": machine(), "onnxruntime": onnxruntime.__version__, "bundles": {}}
    wrong: list[str] = []

    def section(where: dict[str, Any], name: str, work: Callable[[], Any]) -> None:
        start = time.perf_counter()
        try:
            where[name] = work()
        except Exception as error:  # noqa: BLE001 - the other sections are worth having
            where[name] = f"{type(error).__name__}: {error}"
            wrong.append(f"{name}: {where[name]}")
        print(f"[{time.perf_counter() - start:.1f} s] {name}: {json.dumps(where[name])}", flush=True)
        if options.json:
            options.json.write_text(json.dumps({**found, "wrong": wrong}, indent=1))

    for bundle in options.bundles:
        here: dict[str, Any] = {}
        image = options.image or bundle / SAMPLE
        found["bundles"][bundle.name] = here
        for variant, given in VARIANTS.items():
            if variant == "as boxcam runs it" or not options.quick:
                with provider_options(given):
                    section(here, f"agreement {variant}", partial(agreement, bundle, image))
                    section(here, f"speed {variant}", partial(speed, bundle, image, "cuda"))
        section(here, "speed cpu", partial(speed, bundle, image, "cpu"))
        section(here, "placement", partial(placement, bundle, image))
        wrong += [f"{bundle.name}: {what}" for what in faults(here)]
    section(found, "interruption", partial(interruption, options.bundles[0], image))
    section(found, "messages", partial(messages, options.bundles[0], image))
    wrong += late(found["interruption"])
    for what in wrong:
        print(f"WRONG: {what}")
    if options.json:
        options.json.write_text(json.dumps({**found, "wrong": wrong}, indent=1))
    return 1 if wrong else 0


def faults(here: dict[str, Any]) -> Iterator[str]:
    """What is not as it should be in a bundle's results."""
    agreed = here["agreement as boxcam runs it"]
    for layer, rows in agreed.items() if isinstance(agreed, dict) else ():  # what failed is said already
        for method, row in rows.items():
            if row["device"] != "cuda":
                yield f"{layer} {method} ran on {row['device']}"
            if row["boxes"] != row["same boxes"]:
                yield f"{layer} {method}: {row['same boxes']} of {row['boxes']} boxes are the same"
            if not row["map difference"] <= TOLERANCE:
                yield f"{layer} {method}: maps differ by {row['map difference']:.1e} of their peaks"


def late(found: Any) -> Iterator[str]:
    """What ended later than it should, or not by what should have ended it."""
    if not isinstance(found, dict):
        return  # it failed, which is said already
    for seconds, code, said in found["ctrl-c"]:
        if seconds > LATEST or code not in (130, -signal.SIGINT) or said == "ready cpu":
            yield f"Ctrl-C: exit code {code} after {seconds} s ({said})"
    if not isinstance(found["timeout"], float) or found["timeout"] > 1 + LATEST:
        yield f"a time limit of 1 s: {found['timeout']}"


@contextmanager
def provider_options(given: dict[str, str]) -> Iterator[None]:
    """Open CUDA sessions with these options."""
    with mock.patch.object(sessions, "OPTIONS", {CUDA: given}):
        yield


def agreement(bundle: Path, image: Path) -> dict[str, dict[str, Any]]:
    """How far maps of the two devices are apart: by layer and method."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", BoxcamWarning)
        models = {device: boxcam.load(bundle, device=device) for device in ("cpu", "cuda")}
    found: dict[str, dict[str, Any]] = {}
    for layer in models["cpu"].layers:
        found[layer] = {}
        for method in boxcam.methods():
            try:
                cpu, cuda = (
                    boxcam.explain(model, image, layer=layer, method=method, score=0.0, top=100)
                    for model in models.values()
                )
            except (EngineError, UnknownLayerError, UnknownNameError):
                continue  # the method is not for this layer
            found[layer][method] = compared(cpu, cuda)
    return found


def compared(cpu: Any, cuda: Any) -> dict[str, Any]:
    """The boxes of two explanations of one image, paired by where the model draws them from."""
    theirs = {tuple(origin): k for k, origin in enumerate(cuda.detections.origin.tolist())}
    pairs = [(k, theirs[tuple(o)]) for k, o in enumerate(cpu.detections.origin.tolist()) if tuple(o) in theirs]
    maps = [
        float(np.abs(cpu[k].map - cuda[j].map).max() / peak) for k, j in pairs if (peak := float(cpu[k].map.max())) > 0
    ]
    boxes = [float(np.abs(cpu.detections.boxes[k] - cuda.detections.boxes[j]).max()) for k, j in pairs]
    return {
        "device": cuda.facts()["device"],
        "boxes": len(cpu),
        "same boxes": len(pairs) if len(cuda) == len(cpu) else min(len(pairs), len(cpu) - 1),
        "same order": all(k == j for k, j in pairs),
        "box difference": max(boxes, default=0.0),
        "map difference": max(maps, default=0.0),
        "median map difference": float(np.median(maps)) if maps else 0.0,
    }


def speed(bundle: Path, image: Path, device: str) -> dict[str, float]:
    """Milliseconds, warm but for what is called first; MiB of the GPU in use after."""
    opened, model = timed(lambda: boxcam.load(bundle, device=device))
    pixels = np.ascontiguousarray(boxcam.explain(model, image, top=1, score=0.0).image)
    first, _ = timed(lambda: boxcam.explain(boxcam.load(bundle, device=device), pixels, top=10, score=0.0))
    repeats = 9 if device == "cuda" else 3
    found = {
        "open": opened * 1000,
        "open and first picture": first * 1000,
        "forward": median(lambda: model.detect(pixels), repeats) * 1000,
    }
    for top in (1, 10, 100):
        explain = partial(boxcam.explain, model, pixels, top=top, score=0.0)
        found[f"{top} boxes"] = median(explain, repeats) * 1000
    return {**found, "gpu MiB": gpu_memory() if device == "cuda" else 0}


def placement(bundle: Path, image: Path) -> dict[str, Any]:
    """How many operators of each graph ran where, and how many copies between the two there were."""
    import onnxruntime

    found: dict[str, Any] = {}
    real = onnxruntime.InferenceSession
    made: list[tuple[str, Any]] = []

    with tempfile.TemporaryDirectory() as folder:

        def profiled(graph: Any, options: Any, *given: Any, **more: Any) -> Any:
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(folder) / f"p{len(made)}")
            session = real(graph, options, *given, **more)
            made.append((Path(str(graph)).name, session))
            return session

        with mock.patch.object(onnxruntime, "InferenceSession", profiled):
            model = boxcam.load(bundle, device="cuda")
            for layer in model.layers:
                boxcam.explain(model, image, layer=layer, top=10, score=0.0)
        for name, session in made:
            seen: dict[str, Counter[str]] = {}
            for event in json.loads(Path(session.end_profiling()).read_text()):
                if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
                    given = event["args"]
                    seen.setdefault(given["provider"], Counter())[given["op_name"]] += 1
            found[name] = {
                "operators": {provider: of.total() for provider, of in seen.items()},
                "copies": sum(n for of in seen.values() for op, n in of.items() if op.startswith("Memcpy")),
                "on the CPU": dict(seen.get(sessions.CPU, Counter()).most_common(12)),
            }
    return found


_WORK = """
import sys, time
import boxcam
model = boxcam.load(sys.argv[1], device="cuda")
boxcam.explain(model, sys.argv[2], top=10, score=0.0)
print("ready", model.device, flush=True)
while True:
    boxcam.explain(model, sys.argv[2], top=100, score=0.0)
"""
_TIMED = """
import sys, time
import boxcam, boxcam.errors
model = boxcam.load(sys.argv[1], device="cuda")
boxcam.explain(model, sys.argv[2], top=10, score=0.0)
start = time.perf_counter()
try:
    with boxcam.limits(timeout=1):
        while True:
            boxcam.explain(model, sys.argv[2], top=100, score=0.0)
except boxcam.errors.LimitError as error:
    print(time.perf_counter() - start)
"""


def interruption(bundle: Path, image: Path) -> dict[str, Any]:
    """Seconds from Ctrl-C to the end of a process, and from the start to the end of a time limit of one second."""
    found: dict[str, Any] = {"ctrl-c": []}
    for delay in (0.05, 0.31, 0.77):
        process = subprocess.Popen(
            [sys.executable, "-c", _WORK, bundle, image], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert process.stdout is not None
        said = process.stdout.readline().strip()
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        seconds, code = timed(lambda process=process: process.wait(timeout=30))  # type: ignore[misc]
        found["ctrl-c"].append([round(seconds, 2), code, said])
    # While sessions are still being opened
    for delay in (0.6, 1.2, 2.0):
        command = [
            sys.executable,
            "-m",
            "boxcam",
            "explain",
            bundle,
            image,
            "-o",
            tempfile.mkdtemp(),
            "--device",
            "cuda",
        ]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        seconds, (_, said) = timed(lambda process=process: process.communicate(timeout=30))  # type: ignore[misc]
        found["ctrl-c"].append([round(seconds, 2), process.returncode, said[-200:]])
    done = subprocess.run([sys.executable, "-c", _TIMED, bundle, image], capture_output=True, text=True, check=False)
    found["timeout"] = float(done.stdout) if done.returncode == 0 else done.stderr[-300:]
    return found


def messages(bundle: Path, image: Path) -> dict[str, list[Any]]:
    """Exit code, output and messages of `boxcam explain`."""
    found: dict[str, list[Any]] = {}
    hidden = {"CUDA_VISIBLE_DEVICES": ""}
    for name, device, more in (
        ("cuda", "cuda", {}),
        ("no GPU visible", "cuda", hidden),
        ("gpu", "gpu", {}),
        ("cuda:7", "cuda:7", {}),
    ):
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "boxcam",
                    "explain",
                    bundle,
                    image,
                    "-o",
                    folder,
                    "--device",
                    device,
                    "--top",
                    "1",
                ],
                capture_output=True,
                text=True,
                check=False,
                env={**os.environ, **more},
            )
        found[name] = [done.returncode, done.stdout[-1500:], done.stderr[-3000:]]
    return found


def machine() -> dict[str, Any]:
    """What it runs on."""
    asked = "name,driver_version,memory.used,memory.total"
    done = subprocess.run(
        ["nvidia-smi", f"--query-gpu={asked}", "--format=csv,noheader"], capture_output=True, text=True, check=False
    )
    return {"gpu": done.stdout.strip(), "cpus": os.cpu_count(), "python": platform.python_version()}


def gpu_memory() -> int:
    """MiB of the GPU that are in use, by all processes."""
    done = subprocess.run(
        ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"],
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout.split()[0])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", nargs="+", type=Path, help="bundles, written by boxcam export")
    parser.add_argument(
        "--image", type=Path, help="a picture on which they draw boxes [the one each was exported with]"
    )
    parser.add_argument("--json", type=Path, help="file for the results")
    parser.add_argument("--quick", action="store_true", help="only the options that boxcam uses")
    return parser


if __name__ == "__main__":
    sys.exit(main())
