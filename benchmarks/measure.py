"""Measure one layer: all methods, and where boxcam's time goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks import torch_methods
from benchmarks.cases import Subject
from benchmarks.deployed import CELLS_METHOD
from benchmarks.equality import Array, require
from benchmarks.timing import added, median, medians, timed
from boxcam.errors import UnsupportedOperatorError

MASKS = 5000
ENGINES = {"onnx": "boxcam, ONNX windows", "torchscript": "boxcam, TorchScript"}
WHOLE, LOOP, BATCHED = "boxcam, ONNX whole map", "torch.autograd.grad, loop", "torch.autograd.grad, batched"
LIBRARIES: Mapping[str, torch_methods.Method] = {
    "pytorch-grad-cam": torch_methods.pytorch_grad_cam,
    "captum LayerGradCam": torch_methods.captum,
}
CELLS = "boxcam, HiResCAM"
DRISE = f"D-RISE, {MASKS} masks"
METHODS = (*ENGINES.values(), CELLS, WHOLE, LOOP, BATCHED, *LIBRARIES, DRISE)


@dataclass(frozen=True)
class Settings:
    """How much is measured.

    Attributes:
        counts: of boxes.
        repeats: runs that a median is taken of.
        slow_repeats: the same, of methods that take seconds for a box.
        batch: boxes in one batch, where a method has batches.
        limit: seconds that one run of boxcam may take; beyond, it is extrapolated.
        without: methods that are left out.
    """

    counts: tuple[int, ...] = (1, 10, 100)
    repeats: int = 9
    slow_repeats: int = 3
    batch: int = 8
    limit: float = 15.0
    without: tuple[str, ...] = ()


QUICK = Settings(repeats=3, slow_repeats=1, batch=4, limit=5.0)


@dataclass(frozen=True)
class Figure:
    """Seconds on top of detecting the boxes."""

    seconds: float
    extrapolated: bool = False


@dataclass(frozen=True)
class Row:
    """One method: its figures by number of boxes; none if it cannot do it.

    ``deviation`` is the largest one of its maps from the reference, as a share of the peak; None where there are no
    maps of its own to compare.
    """

    method: str
    figures: Mapping[int, Figure]
    deviation: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Measured:
    """One layer of one detector; all in seconds.

    Attributes:
        floor: the forward pass alone.
        parts: where the time of explaining the most boxes goes.
    """

    case: str
    title: str
    layer: str
    floor: float
    rows: Sequence[Row]
    parts: Mapping[str, float]
    levels: Mapping[int, int] = field(default_factory=dict)

    def row(self, method: str) -> Row | None:
        return next((row for row in self.rows if row.method == method), None)


def measure(case: str, title: str, subject: Subject, settings: Settings, say: Callable[[str], None]) -> Measured:
    """Measure one layer.

    Raises:
        DisagreementError: a method gives other maps.
        MissingPackageError: a method is not installed.
    """
    groups, most = subject.deployed.groups, max(settings.counts)
    say("computing the reference maps")
    some = _spread(groups)
    references = torch_methods.references(subject.network, subject.image, some)
    rows: list[Row] = []

    say("timing boxcam")
    floor, parts, rows = _boxcam(subject, references, settings, say)
    if CELLS not in settings.without:
        say(f"timing {CELLS}")
        rows.append(_cells(subject, settings))
    if WHOLE not in settings.without:
        say(f"timing {WHOLE}")
        rows.append(_whole(subject, references, settings, say))
    methods: dict[str, torch_methods.Method] = {LOOP: torch_methods.loop, **LIBRARIES}
    for name, method in methods.items():
        if name not in settings.without:
            say(f"timing {name}")
            rows.append(_box_by_box(name, method, subject, references, settings))
    if BATCHED not in settings.without:
        say(f"timing {BATCHED}")
        rows.append(_batches(subject, references, settings, say))
    if DRISE not in settings.without:
        rows.append(Row(DRISE, {count: Figure(MASKS * floor, True) for count in settings.counts}, note="another map"))
    rows.sort(key=lambda row: METHODS.index(row.method))
    levels = {group: groups[:most].count(group) for group in sorted(set(groups[:most]))}
    return Measured(case, title, subject.layer, floor, rows, parts, levels)


def _spread(groups: Sequence[int]) -> list[int]:
    """The boxes whose maps are compared: of each feature map the first, the last, and one between."""
    chosen: set[int] = set()
    for group in set(groups):
        mine = [box for box, of in enumerate(groups) if of == group]
        chosen.update(mine[i] for i in np.linspace(0, len(mine) - 1, 3).round().astype(int))
    return sorted(chosen)


def _boxcam(
    subject: Subject, references: Mapping[int, Array], settings: Settings, say: Callable[[str], None]
) -> tuple[float, dict[str, float], list[Row]]:
    deployed, most = subject.deployed, max(settings.counts)
    engines = [name for name in deployed.engines if ENGINES[name] not in settings.without]
    deviations, runs, slow = {}, {}, []
    for engine in engines:
        deployed.explain(1, engine)  # opens it
        few = min(settings.batch, most)
        one, several = (timed(lambda n=n, e=engine: deployed.explain(n, e))[0] for n in (1, few))
        for count in settings.counts:
            if count <= few or one + (several - one) / max(few - 1, 1) * (count - 1) <= settings.limit:
                runs[engine, count] = lambda count=count, engine=engine: deployed.explain(count, engine)
            else:
                slow.append((engine, count))
        if any(engine == e for e, _ in slow):
            runs[engine, few] = lambda few=few, engine=engine: deployed.explain(few, engine)
        reach = max(count for e, count in runs if e == engine)
        maps = dict(enumerate(deployed.explain(reach, engine)))
        deviations[engine] = require(ENGINES[engine], maps, references)
        say(f"  {engine}: {reach} boxes")
    pieces = {
        "floor": deployed.floor,
        "prepare": deployed.prepare,
        "detect": deployed.detect,
        "forward": deployed.forward,
        "gradients": lambda: deployed.gradients(most),
    }
    extra = added(deployed.detect, {f"{e} {n}": run for (e, n), run in runs.items()}, settings.repeats)
    rows = []
    for engine in engines:
        figures = {}
        for count in settings.counts:
            if (engine, count) not in slow:
                figures[count] = Figure(max(extra[f"{engine} {count}"], 0.0))
                continue
            few = max(n for e, n in runs if e == engine)
            least = min(settings.counts)
            slope = (extra[f"{engine} {few}"] - extra[f"{engine} {least}"]) / max(few - least, 1)
            figures[count] = Figure(max(extra[f"{engine} {few}"] + slope * (count - few), 0.0), True)
        rows.append(Row(ENGINES[engine], figures, deviations[engine]))
    parts = medians(pieces, settings.repeats)
    if ("onnx", most) in runs:
        parts["explain"] = parts["detect"] + extra[f"onnx {most}"]
    return parts["floor"], parts, rows


def _cells(subject: Subject, settings: Settings) -> Row:
    """A method that needs every cell's own gradient, where Grad-CAM needs each channel's mean."""
    deployed, few = subject.deployed, min(settings.batch, max(settings.counts))

    def run(count: int) -> Callable[[], object]:
        return lambda: deployed.explain(count, "onnx", CELLS_METHOD)

    run(1)()  # opens what it needs
    one, several = (timed(run(n))[0] for n in (1, few))
    long = one + (several - one) / max(few - 1, 1) * (max(settings.counts) - 1) > settings.limit
    reach = {count: min(count, few) if long else count for count in settings.counts}
    extra = added(deployed.detect, {str(n): run(n) for n in set(reach.values())}, settings.repeats)
    figures = {count: Figure(max(extra[str(n)], 0.0) * count / n, n < count) for count, n in reach.items()}
    return Row(CELLS, figures, note="another map")


def _whole(subject: Subject, references: Mapping[int, Array], settings: Settings, say: Callable[[str], None]) -> Row:
    try:
        run = subject.deployed.whole_maps()
    except UnsupportedOperatorError as error:
        say(f"  not possible: {error}")
        return Row(WHOLE, {}, note="not possible")
    compared = list(references)
    maps = dict(zip(compared, run(compared), strict=True))
    worst = require(WHOLE, maps, references)
    figures = {}
    order = sorted(range(max(settings.counts)), key=lambda box: subject.deployed.groups[box])
    for count in settings.counts:
        few = min(count, settings.batch)
        # The first one, or a sample with as many boxes of each feature map, by shares, as there are.
        boxes = [0] if few == 1 else [order[int((i + 0.5) * len(order) / few)] for i in range(few)]
        seconds = median(lambda boxes=boxes: run(boxes), settings.slow_repeats)
        figures[count] = Figure(seconds * count / few, few < count)
    return Row(WHOLE, figures, worst)


def _box_by_box(
    name: str,
    method: torch_methods.Method,
    subject: Subject,
    references: Mapping[int, Array],
    settings: Settings,
) -> Row:
    """A method that needs the same time for every box of a feature map: one of each is timed."""
    groups, found, seconds = subject.deployed.groups, {}, {}
    for group in dict.fromkeys(groups):
        box = groups.index(group)
        run = method(subject.network, subject.image, [box])
        (found[box],) = run()
        seconds[group] = median(run, settings.slow_repeats, warm=False)
    worst = require(name, found, references)
    figures = {n: Figure(sum(seconds[group] for group in groups[:n]), n > 1) for n in settings.counts}
    return Row(name, figures, worst)


def _batches(subject: Subject, references: Mapping[int, Array], settings: Settings, say: Callable[[str], None]) -> Row:
    """One batch of the boxes of each feature map is timed."""
    groups, found, share = subject.deployed.groups, {}, {}
    for group in dict.fromkeys(groups):
        boxes = [box for box, of in enumerate(groups) if of == group][: settings.batch]
        run = torch_methods.batched(subject.network, subject.image, boxes)
        try:
            found.update(zip(boxes, run(), strict=True))
        except RuntimeError as error:
            say(f"  not possible: {error}")
            return Row(BATCHED, {}, note="not possible")
        share[group] = median(run, settings.slow_repeats, warm=False) / len(boxes)
    worst = require(BATCHED, found, references)
    figures = {n: Figure(sum(share[group] for group in groups[:n]), True) for n in settings.counts if n > 1}
    return Row(BATCHED, figures, worst)
