"""Measure maps where the truth is known: how much of their evidence is on the cue, and how much on the symbol.

python -m examples.truth.measure beside-0.975-0
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

import boxcam
from boxcam.errors import RunError
from boxcam.explain.methods import METHODS, Method, Perturbation
from boxcam.explain.metrics.arithmetic import region_of
from boxcam.explain.metrics.energy import energy
from boxcam.explain.metrics.pointing import pointing_game
from examples.truth.bundles import export
from examples.truth.scenes import Scene, draw
from examples.truth.sight import audited, rank_of
from examples.truth.subjects import FURTHER, Subject, subject
from examples.truth.things import SIZE

BOXES, SLOW_BOXES, MASKS = 40, 10, 300
"""Pictures of each detector, kind of cue and split; the same for methods that run the model many times; and how many
masks D-RISE has."""
FURTHER_BOXES, FURTHER_SLOW = 12, 3
"""The same two numbers of pictures, for the kinds of cue `FURTHER`."""
FUSED = ("hirescam", "layercam")
"""Methods whose maps at the neck and at the stage of stride 8 are made one, too: the larger value of each pixel."""
SHORT = ("neck", "backbone.0")
"""Layers of a short run."""
_AND = " + "
MARGIN = 4
"""Pixels by which regions are widened: half a cell of the finest layer."""
BASELINES = ("uniform", "the box itself", "edge detector")
PEERS = ("pytorch-grad-cam", "d-rise, 5,000 masks")
"""Recipes of others, which `examples.truth.peers` follows."""
_WHOLE = np.array([0.0, 0.0, SIZE, SIZE])


@dataclass(frozen=True)
class Row:
    """A way to make a map: a method at a layer, or a baseline, without a layer."""

    method: str
    layer: str = ""

    @property
    def slow(self) -> bool:
        """Whether it is measured on fewer boxes, as it runs the model many times."""
        if self.method in (*BASELINES, *PEERS):
            return False
        method = METHODS[self.method]
        return not isinstance(method, Method) or method.samples > 0

    @property
    def short(self) -> bool:
        """Whether a short run measures it: quick ways at the layers `SHORT`."""
        if self.method in PEERS or self.slow or not set(self.layer.split(_AND)) <= {"", *SHORT}:
            return False
        return self.method in BASELINES or METHODS[self.method].layers != "maps, image"


DEFAULT = Row("hirescam", "neck")
"""boxcam's own, for detectors: what all others are compared with."""


@dataclass(frozen=True)
class Case:
    """A map of one box, measured. Figures are NaN for a map without evidence, or for a cue that is at no place.

    Attributes:
        subject, cue, split, row: which detector, kind of cue, pictures, and way.
        box: number of the scene.
        on_cue, on_symbol: share of the evidence on the cue, and on the symbol, each widened by `MARGIN`; but a texture,
            which would reach into the bodies, is not.
        hits_cue, hits_symbol: whether the map is highest there.
        area_cue, area_symbol: share of the picture that they cover.
        seconds: to detect and to explain the box.
    """

    subject: str
    cue: str
    split: str
    row: Row
    box: int
    on_cue: float
    on_symbol: float
    hits_cue: float
    hits_symbol: float
    area_cue: float
    area_symbol: float
    seconds: float

    @property
    def lift(self) -> float:
        """How many times more of the evidence is on the cue than of a uniform map."""
        return self.on_cue / self.area_cue


def rows_of(model: boxcam.Model) -> list[Row]:
    """All baselines, and all methods at all layers that they are for, but those of targets that the bundle lacks."""
    found = [Row(name) for name in BASELINES]
    for name, method in METHODS.loaded().items():
        if not set(getattr(method, "targets", ())) <= set(model.targets):
            continue
        kind = method.layers
        if kind == "none":
            found.append(Row(name))
        elif kind == "maps, image":
            found.append(Row(name, "neck"))
        else:
            fits = {"any": model.layers, "maps": [layer for layer in model.layers if layer != "image"]}
            found += [Row(name, layer) for layer in fits.get(kind, ["image"])]
        if name in FUSED:
            found.append(Row(name, _AND.join(layer for layer in ("neck", "backbone.0") if layer in model.layers)))
    return found


def map_of(model: boxcam.Model, row: Row, picture: np.ndarray, scene: Scene, rank: int) -> np.ndarray:
    """A map of the box of a rank, by a baseline or by one of boxcam's methods: float32 [SIZE, SIZE]."""
    if row.method == "uniform":
        return np.ones((SIZE, SIZE), np.float32)
    if row.method == "the box itself":
        return region_of(np.array(scene.body.box), (SIZE, SIZE)).astype(np.float32)
    if row.method == "edge detector":
        grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY).astype(np.float32)
        return np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    layers = row.layer.split(_AND) if row.layer else None
    masks, seed = (MASKS, 0) if isinstance(METHODS[row.method], Perturbation) else (None, None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", boxcam.BoxcamWarning)  # of empty maps, which have no figures
        try:
            found = boxcam.explain(model, picture, method=row.method, layer=layers, rank=rank, masks=masks, seed=seed)
        except RunError:  # of a method that cannot be used on this picture: it has no figures either
            return np.zeros((SIZE, SIZE), np.float32)
    return found.map(0)


def measure(
    model: boxcam.Model,
    one: Subject,
    cue: str,
    rows: list[Row],
    split: str,
    count: int,
    make: Callable[[boxcam.Model, Row, np.ndarray, Scene, int], np.ndarray] = map_of,
) -> Iterator[Case]:
    """Maps of crosses with the cue that the detector calls crosses.

    Args:
        model: the detector's bundle.
        one: the detector.
        cue: kind of cue.
        rows: ways to make maps.
        split: which pictures, a key of `SPLITS`.
        count: scenes to look at; slow methods look at the first `SLOW_BOXES`.
        make: makes a map of the box of a rank.
    """
    for number, scene in enumerate(audited(one, cue, count, split)):
        picture = draw(scene)
        rank = rank_of(model.detect(picture), scene)
        if rank is None:
            continue
        mask = scene.cue_mask
        regions = [widened(mask) if mask is not None and scene.cue.is_mark else mask, widened(scene.symbol.mask())]
        for row in rows:
            if row.slow and number >= SLOW_BOXES:
                continue
            start = time.perf_counter()
            heat = make(model, row, picture, scene, rank)
            seconds = time.perf_counter() - start
            on, hits, areas = zip(*(_figures(heat, region) for region in regions), strict=True)
            yield Case(one.name, cue, split, row, number, *on, *hits, *areas, seconds)


def widened(mask: np.ndarray) -> np.ndarray:
    """A region, bool [SIZE, SIZE], and all that is at most `MARGIN` pixels from it."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * MARGIN + 1, 2 * MARGIN + 1))
    return cv2.dilate(mask.astype(np.uint8), disc).astype(bool)


def _figures(heat: np.ndarray, region: np.ndarray | None) -> tuple[float, float, float]:
    """Energy and pointing game in a region, and its share of the picture."""
    if region is None:
        return float("nan"), float("nan"), float("nan")
    return energy(heat, _WHOLE, region), pointing_game(heat, _WHOLE, region), float(region.mean())


def cases_of(model: boxcam.Model, one: Subject, cue: str) -> list[Case]:
    """All that is measured of a detector with a kind of cue; of those of `FURTHER` fewer boxes."""
    rows = rows_of(model)
    parts = [(rows, BOXES)]
    if cue in FURTHER:
        slow = [row for row in rows if row.slow]
        parts = [([row for row in rows if row not in slow], FURTHER_BOXES), (slow, FURTHER_SLOW)]
    return [
        case for split in one.splits for ways, count in parts for case in measure(model, one, cue, ways, split, count)
    ]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", metavar="NAME")
    for one in map(subject, parser.parse_args().names):
        model = boxcam.load(export(one, one.bundle), threads=1)
        cases = [case for cue in one.measured for case in cases_of(model, one, cue)]
        for row in dict.fromkeys(case.row for case in cases):
            mine = [case for case in cases if case.row == row]
            cue, symbol = (np.nanmean([getattr(case, name) for case in mine]) for name in ("on_cue", "on_symbol"))
            print(f"{one.name} {row.method:22} {row.layer:12} cue {cue:.3f} symbol {symbol:.3f} ({len(mine)} boxes)")


if __name__ == "__main__":
    main()
