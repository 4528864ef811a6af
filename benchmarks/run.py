"""Measure boxcam against other ways of computing the same maps, and print the tables.

    python benchmarks/run.py                                      everything, about 40 minutes
    python benchmarks/run.py --only retinanet-320 --quick         a part of it, less exactly
    python benchmarks/run.py --write docs/performance.md          and the page

It needs what exporting mmdet needs, and grad-cam and captum (requirements/bench.txt); `make bench` sees to it. Exported
models are kept in .bench and made anew when boxcam changes.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
EARLY, SHEETS, MISSED, COLD = "early-layers", "sheets", "missed", "cold-start"
DEFAULT = ("retinanet-320", "retinanet-800", "faster-rcnn-800", "yolo-640", EARLY, SHEETS, MISSED, COLD)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    os.environ["OMP_NUM_THREADS"] = str(options.threads)  # before anything that reads it is imported
    warnings.filterwarnings("ignore", module=r"(torch|mmengine|mmdet|mmcv|mmyolo|pytorch_grad_cam|captum)")
    import torch

    from benchmarks import report
    from benchmarks.cases import CASES, demo, exported, subjects
    from benchmarks.cold import ColdStartError, cold_starts
    from benchmarks.deployed import TooFewBoxesError
    from benchmarks.early import early_layers
    from benchmarks.equality import DisagreementError
    from benchmarks.measure import LIBRARIES, METHODS, QUICK, Settings, measure
    from benchmarks.missed import missed
    from benchmarks.sheets import sheets
    from benchmarks.torch_methods import MissingPackageError, require_package
    from boxcam.errors import BoxcamError

    chosen = options.only or DEFAULT
    unknown = [name for name in chosen if name not in (*CASES, EARLY, SHEETS, MISSED, COLD)]
    unknown += [name for name in options.without if name not in METHODS]
    if unknown:
        return _failed(
            f"unknown: {', '.join(unknown)}. Cases: {', '.join([*CASES, EARLY, SHEETS, MISSED, COLD])}."
            f" Methods: {', '.join(METHODS)}."
        )
    torch.set_num_threads(options.threads)
    settings = dataclasses.replace(QUICK if options.quick else Settings(), without=tuple(options.without))
    begun = time.perf_counter()

    def say(words: str) -> None:
        print(f"{time.perf_counter() - begun:7.1f} s  {words}", file=sys.stderr, flush=True)

    results = report.Results([], [], settings, options.threads)
    try:
        for library in LIBRARIES:
            if library not in settings.without:  # now, and not after some minutes
                require_package(library)
        for name in chosen:
            say(f"== {name}")
            if name == COLD:
                bundle = demo(options.cache, say)
                torch_too = next(iter(LIBRARIES)) not in settings.without
                starts = cold_starts(bundle, options.runtime_python, options.threads, settings.repeats, torch_too)
                results = dataclasses.replace(results, cold=starts)
                continue
            if name == SHEETS:
                drawn = sheets(demo(options.cache, say), options.threads, settings.repeats)
                results = dataclasses.replace(results, sheets=drawn)
                continue
            if name == MISSED:
                large = [CASES[one] for one in ("retinanet-800", "faster-rcnn-800")]
                bundles = [(of.title, exported(of, options.cache, say) / "model.boxcam") for of in large]
                bundles.insert(0, ("demo detector", demo(options.cache, say)))
                results = dataclasses.replace(results, missed=missed(bundles, options.threads, settings.repeats))
                continue
            if name == EARLY:
                bundle = demo(options.cache, say)
                rows = early_layers(options.cache, bundle, options.threads, settings.slow_repeats, say)
                results = dataclasses.replace(results, early=rows)
                continue
            for subject in subjects(CASES[name], options.cache, max(settings.counts), options.threads, say):
                say(f"-- {subject.layer}")
                found = measure(name, CASES[name].title, subject, settings, say)
                results = dataclasses.replace(results, measured=[*results.measured, found])
    except (BoxcamError, ColdStartError, DisagreementError, MissingPackageError, TooFewBoxesError) as error:
        return _failed(str(error))
    print(report.text(results))
    if options.write:
        options.write.write_text(report.page(results), encoding="utf-8")
        say(f"wrote {options.write}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument(
        "--only", nargs="+", metavar="CASE", help=f"of: {', '.join(DEFAULT)}, faster-rcnn-320, yolo-320"
    )
    parser.add_argument(
        "--without", nargs="+", default=[], metavar="METHOD", help="leave out, by its name in the table"
    )
    parser.add_argument("--quick", action="store_true", help="fewer runs: to try it out")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of every method [2]")
    parser.add_argument("--write", type=Path, metavar="FILE", help="also write the page of the documentation")
    parser.add_argument("--cache", type=Path, default=ROOT / ".bench", help="where exported models are kept [.bench]")
    parser.add_argument(
        "--runtime-python",
        type=Path,
        default=ROOT / ".venv-runtime" / "bin" / "python",
        help="interpreter of an environment that explains, without torch [.venv-runtime/bin/python]",
    )
    return parser


def _failed(words: str) -> int:
    print(f"benchmarks: {words}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
