"""What it saves that the graphs of a bundle share their weights: size, cold start and memory, both ways in one run.

    python benchmarks/weights.py CONFIG.py CHECKPOINT.pth        or any other model that boxcam exports

The model is exported twice: as it is, and so that each graph holds all of its numbers itself, transposed and flipped
ones too. Then processes that explain one picture alternate between the two bundles.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
THRESHOLDS = ("graphs.weights.SMALL", "torchscript.saving.SMALL", "autodiff.turned._WORTH")
"""From how many bytes on weights are shared."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    os.environ["OMP_NUM_THREADS"] = str(options.threads)  # before anything that reads it is imported
    import boxcam
    from benchmarks.cases import PICTURE
    from benchmarks.cold import ColdStart, cold_starts

    with tempfile.TemporaryDirectory() as place:
        bundles = {"shared": Path(place) / "shared.boxcam", "apart": Path(place) / "apart.boxcam"}
        height, width = map(int, options.shape.split("x"))
        given = {"engine": options.engine, "shape": (height, width), "sample": PICTURE}
        boxcam.export(*options.model, output=bundles["shared"], **given)
        patches = [mock.patch(f"boxcam.export.{name}", sys.maxsize) for name in THRESHOLDS]
        for patch in patches:
            patch.start()
        boxcam.export(*options.model, output=bundles["apart"], **given)
        runs: dict[str, list[ColdStart]] = {name: [] for name in bundles}
        for _ in range(options.rounds):
            for name, bundle in bundles.items():
                runs[name] += cold_starts(bundle, Path(sys.executable), options.threads, 1, torch_too=False)
        sizes = {name: sum(file.stat().st_size for file in bundle.iterdir()) for name, bundle in bundles.items()}
    for name, found in runs.items():
        first, peak = (statistics.median(getattr(run, what) for run in found) for what in ("first", "peak"))
        print(f"{name:8} {sizes[name] / 1e6:9.1f} MB {first * 1000:7.0f} ms to the first picture {peak:7.0f} MiB")
    ratios = [one.first / other.first for one, other in zip(runs["shared"], runs["apart"], strict=True)]
    print(
        f"shared / apart: size {sizes['shared'] / sizes['apart']:.2f}, first picture {statistics.median(ratios):.2f}"
        f" (from {min(ratios):.2f} to {max(ratios):.2f})"
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="+", help="as for boxcam export")
    parser.add_argument("--engine", default="auto", help="as for boxcam export [auto]")
    parser.add_argument("--shape", default="320x320", metavar="HxW", help="of the model's input [320x320]")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads [2]")
    parser.add_argument("--rounds", type=int, default=7, help="pairs of processes [7]")
    return parser


if __name__ == "__main__":
    sys.exit(main())
