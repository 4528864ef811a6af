"""Figures as text: the tables, the targets, and the page in the documentation."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from string import Template

from benchmarks.cold import ColdStart
from benchmarks.early import IMAGE, STAGE, EarlyLayer
from benchmarks.measure import ENGINES, LIBRARIES, LOOP, Figure, Measured, Row, Settings
from benchmarks.missed import Missed
from benchmarks.sheets import Sheet

TEMPLATE = Path(__file__).with_name("performance.md.in")
ONNX, GRAD_CAM = ENGINES["onnx"], next(iter(LIBRARIES))
_PACKAGES = ("numpy", "onnxruntime", "torch", "mmdet", "mmyolo", "grad-cam", "captum")


@dataclass(frozen=True)
class Results:
    """All that was measured in one run."""

    measured: Sequence[Measured]
    cold: Sequence[ColdStart]
    settings: Settings
    threads: int
    early: Sequence[EarlyLayer] = ()
    sheets: Sequence[Sheet] = ()
    missed: Sequence[Missed] = ()


SHEET_GOAL = 0.3
"""Seconds that a sheet of ten boxes of 12 megapixels should take at most."""
CANDIDATES_GOAL, CONTRAST_GOAL = 0.05, 2.0
"""How much of a forward pass all candidates should add; how many times as long a contrast should take as maps."""
GOALS = {STAGE: 1.0, IMAGE: 4.0}
"""How many forward passes the maps of ten boxes should take at most."""
_NOISE = 0.01
"""Differences that are a smaller share of the forward pass say nothing."""


def duration(seconds: float) -> str:
    """Seconds with two digits or three."""
    if seconds < 1:
        milliseconds = seconds * 1000
        return f"{milliseconds:.1f} ms" if milliseconds < 9.95 else f"{milliseconds:.0f} ms"
    return f"{seconds:.2f} s" if seconds < 9.995 else f"{seconds:.1f} s" if seconds < 99.95 else f"{seconds:,.0f} s"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> str:
    """A table that reads well as plain text too; the first ``left`` columns are aligned to the left."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        padded = [c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in enumerate(zip(cells, widths, strict=True))]
        return f"| {' | '.join(padded)} |"

    rule = [("-" * w if i < left else "-" * (w - 1) + ":") for i, w in enumerate(widths)]
    return "\n".join([line(header), f"| {' | '.join(rule)} |", *map(line, rows)])


def table(results: Results) -> str:
    """All methods, layer by layer."""
    counts = results.settings.counts
    boxes = [f"{count} {'box' if count == 1 else 'boxes'}" for count in counts]
    header = ["detector, layer", "method", *boxes, f"whole job, {boxes[-1]}", "deviation"]
    rows = []
    for of in results.measured:
        place = f"{of.title}, {of.layer}"
        rows.append([place, "forward pass alone", *[duration(of.floor)] * len(counts), "", ""])
        for row in of.rows:
            noise = _NOISE if row.method.startswith("boxcam") else 0.0
            cells = [_cell(row.figures.get(count), of.floor, noise) for count in counts]
            rows.append([place, row.method, *cells, _times(of, row, counts[-1]), _deviation(row)])
    return markdown(header, rows, 2)


def _cell(figure: Figure | None, floor: float, noise: float = 0.0) -> str:
    if figure is None:
        return "–"
    ratio = figure.seconds / floor
    if ratio < noise and not figure.extrapolated:
        return f"< {duration(noise * floor)} (< {noise:.0%})"
    share = f"{ratio:.1%}" if ratio < 0.0995 else f"{ratio:.0%}" if ratio < 9.995 else f"{ratio:,.0f}x"
    return f"{duration(figure.seconds)} ({share}){'*' if figure.extrapolated else ''}"


def whole_job(of: Measured, row: Row, count: int) -> float | None:
    """How many times as long as with boxcam it takes to detect the boxes and to explain them."""
    own, other = of.row(ONNX), row.figures.get(count)
    mine = own.figures.get(count) if own else None
    if mine is None or other is None:
        return None
    return (of.floor + other.seconds) / (of.floor + mine.seconds)


def _times(of: Measured, row: Row, count: int) -> str:
    ratio = whole_job(of, row, count)
    return "–" if ratio is None else f"x {ratio:,.2f}" if ratio < 9.995 else f"x {ratio:,.0f}"


def _deviation(row: Row) -> str:
    if row.deviation is None:
        return row.note or "–"
    return "reference" if row.method == LOOP else f"{row.deviation:.0e}"


def parts(results: Results) -> str:
    """Where boxcam's time goes."""
    count = max(results.settings.counts)
    header = ["detector, layer", "levels", "forward alone", "image", "traced, with outputs", "gradients", "maps"]
    header += ["explain", "explain - detect", "explain - forward alone - image"]
    rows = []
    for of in results.measured:
        p = of.parts
        if "explain" not in p:
            continue
        spent = [
            of.floor,
            p["prepare"],
            p["forward"] - of.floor - p["prepare"],
            p["gradients"],
            p["explain"] - p["forward"] - p["gradients"],
            p["explain"],
        ]
        beyond = [p["explain"] - p["detect"], p["explain"] - of.floor - p["prepare"]]
        shares = [f"{seconds / of.floor:.1%}" for seconds in beyond]
        levels = " + ".join(str(n) for n in of.levels.values())
        rows.append([f"{of.title}, {of.layer}", levels, *map(_signed, spent), *shares])
    return f"{count} boxes:\n\n" + markdown(header, rows, 1)


def _signed(seconds: float) -> str:
    return f"-{duration(-seconds)}" if seconds < 0 else duration(seconds)


def early(results: Results) -> str:
    """What maps cost at layers close to the image."""
    header = ["detector", "layer", "boxes", "forward alone", "explain - detect", "forward passes", "goal", "met"]
    rows = []
    for of in results.early:
        passes, goal = of.seconds / of.floor, GOALS[of.layer]
        met = "yes" if passes <= goal else "no"
        times = [duration(of.floor), duration(of.seconds), f"{passes:.1f}", f"<= {goal:.0f}", met]
        rows.append([of.title, of.layer, str(of.boxes), *times])
    return markdown(header, rows, 2)


def sheets(results: Results) -> str:
    """What sheets of large pictures take."""
    header = ["method", "boxes", "picture", "sheet", "goal", "met", "its maps at the picture's size"]
    rows = []
    for of in results.sheets:
        met = "yes" if round(of.seconds, 3) <= SHEET_GOAL else "no"
        times = [duration(of.seconds), f"<= {duration(SHEET_GOAL)}", met, duration(of.maps)]
        rows.append([of.method, str(of.boxes), f"{of.width}x{of.height}", *times])
    return markdown(header, rows, 1)


def missed(results: Results) -> str:
    """What is paid for asking why a box was missed, and for a contrast."""
    header = ["detector", "candidates", "forward pass", "all candidates add", "goal", "met", "told in"]
    header += ["a contrast takes", "goal", "met"]
    rows = []
    for of in results.missed:
        share = round((max(of.asked - of.forward, 0.0) + of.found) / of.forward, 3)  # as it is printed, so it is judged
        times = round(of.contrast / of.maps, 2)
        row = [of.title, str(of.candidates), duration(of.forward), f"{share:.1%}", f"<= {CANDIDATES_GOAL:.0%}"]
        row += ["yes" if share <= CANDIDATES_GOAL else "no", duration(of.told)]
        row += [f"{times:.2f} times the maps", f"<= {CONTRAST_GOAL:g}", "yes" if times <= CONTRAST_GOAL else "no"]
        rows.append(row)
    return markdown(header, rows, 1)


def cold(results: Results) -> str:
    """Cold starts."""
    header = ["job, demo detector, one picture", "first picture", "end", "peak memory", "torch installed"]
    rows = [
        [c.job, duration(c.first), duration(c.total), f"{c.peak:,.0f} MB", "yes" if c.with_torch else "no"]
        for c in results.cold
    ]
    return markdown(header, rows, 1)


def targets(results: Results) -> str:
    """What was aimed at, and whether it was reached."""

    def of(case: str, layer: str) -> Measured | None:
        return next((m for m in results.measured if (m.case, m.layer) == (case, layer)), None)

    def overhead(found: Measured | None) -> float | None:
        row = found.row(ONNX) if found else None
        figure = row.figures.get(100) if row else None
        return None if figure is None or found is None else figure.seconds / found.floor

    neck, backbone = of("retinanet-800", "neck"), of("retinanet-800", "backbone")
    library = neck.row(GRAD_CAM) if neck else None
    faster = whole_job(neck, library, 100) if neck and library else None
    start = next(iter(results.cold), None)
    share: Callable[[float], str] = "{:.1%}".format
    wanted: list[tuple[str, str, float | None, bool, Callable[[float], str]]] = [
        ("RetinaNet 800x800, neck, 100 boxes", "<= 10 % of the forward pass", overhead(neck), _most(neck, 0.10), share),
        (
            "the same, the whole job",
            ">= 200 times faster than pytorch-grad-cam",
            faster,
            faster is not None and faster >= 200,
            "{:,.0f} times".format,
        ),
        ("RetinaNet 800x800, backbone", "<= 1 forward pass", overhead(backbone), _most(backbone, 1.0), share),
        (
            "Faster R-CNN 800x800, roi",
            "<= 5 % of the forward pass",
            overhead(of("faster-rcnn-800", "roi")),
            _most(of("faster-rcnn-800", "roi"), 0.05),
            share,
        ),
        (
            "demo, cold start to the first picture",
            "<= 1.5 s",
            start.first if start else None,
            bool(start and start.first <= 1.5),
            duration,
        ),
        (
            "demo, peak memory",
            "<= 250 MB",
            start.peak if start else None,
            bool(start and start.peak <= 250),
            "{:,.0f} MB".format,
        ),
    ]
    rows = [
        [what, aim, "not measured" if value is None else show(value), "" if value is None else "yes" if met else "no"]
        for what, aim, value, met, show in wanted
    ]
    return markdown(["what", "target", "measured", "met"], rows, 2)


def _most(found: Measured | None, share: float) -> bool:
    """Whether explaining 100 boxes takes no more than a share of the forward pass."""
    row = found.row(ONNX) if found else None
    figure = row.figures.get(100) if row else None
    return bool(figure and found and figure.seconds <= share * found.floor)


def machine(results: Results) -> str:
    """The kind of machine, and the versions that matter."""
    found = []
    for name in _PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    cores = f"{os.cpu_count()} CPU cores ({platform.machine()}), {results.threads} threads for every method, no GPU"
    return f"{cores}; Python {platform.python_version()}, {', '.join(found)}"


def text(results: Results) -> str:
    """All tables, for the screen."""
    shown = [f"{machine(results)}; medians of {results.settings.repeats} runs; *: extrapolated"]
    if results.measured:
        shown += [table(results), parts(results)]
    if results.early:
        shown.append(early(results))
    if results.sheets:
        shown.append(sheets(results))
    if results.missed:
        shown.append(missed(results))
    if results.cold:
        shown.append(cold(results))
    return "\n\n".join([*shown, targets(results)])


def page(results: Results) -> str:
    """The page in the documentation."""
    settings = results.settings
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        machine=machine(results),
        repeats=settings.repeats,
        slow_repeats=settings.slow_repeats,
        batch=settings.batch,
        table=table(results),
        parts=parts(results),
        early=early(results),
        sheets=sheets(results),
        missed=missed(results),
        cold=cold(results),
        targets=targets(results),
    )
