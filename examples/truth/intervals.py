"""How sure the figures are: 95 % intervals of a bootstrap over scenes.

A scene is drawn with all boxes that are of it, whichever detector and cue they are of: they are no independent ones.
The intervals say what other scenes would give with the same detectors; of other detectors they say nothing.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

REPLICATES, SEED = 2000, 0


@dataclass(frozen=True)
class Estimate:
    """A figure and the ends of its interval, which are NaN where it is of fewer than two scenes."""

    value: float
    low: float
    high: float


UNKNOWN = Estimate(float("nan"), float("nan"), float("nan"))


@dataclass(frozen=True)
class Sample:
    """Figures of boxes, float64 [N], and the scene of each."""

    values: np.ndarray
    scenes: Sequence[Hashable]

    def __len__(self) -> int:
        return len(self.values)


def mean_of_means(samples: Sequence[Sample]) -> Estimate:
    """The mean of the means of several samples, which count alike.

    >>> import numpy as np
    >>> mean_of_means([Sample(np.array([1.0, 1.0]), [0, 1]), Sample(np.array([0.0, 0.0, 0.0]), [0, 1, 2])])
    Estimate(value=0.5, low=0.5, high=0.5)
    """
    if not samples or not all(map(len, samples)):
        return UNKNOWN
    drawn = _drawn(samples)
    with np.errstate(invalid="ignore"):  # none of a sample's scenes was drawn
        means = np.mean([counts @ one.values / counts.sum(axis=1) for counts, one in _each(drawn, samples)], axis=0)
    return _estimate(float(np.mean([one.values.mean() for one in samples])), means, samples)


def auroc(positive: Sample, negative: Sample) -> Estimate:
    """Share of the pairs of which the positive one is higher, equal ones by half.

    >>> import numpy as np
    >>> auroc(Sample(np.array([2.0, 1.0]), [0, 1]), Sample(np.array([1.0, 0.0]), [0, 1])).value
    0.875
    """
    samples = (positive, negative)
    if not all(map(len, samples)):
        return UNKNOWN
    difference = positive.values[:, None] - negative.values[None, :]
    won = (difference > 0) + 0.5 * (difference == 0)
    (first, _), (second, _) = _each(_drawn(samples), samples)
    with np.errstate(invalid="ignore"):
        shares = ((first @ won) * second).sum(axis=1) / (first.sum(axis=1) * second.sum(axis=1))
    return _estimate(float(won.mean()), shares, samples)


def _drawn(samples: Sequence[Sample]) -> dict[Hashable, np.ndarray]:
    """How often each scene is drawn for each replicate, int [REPLICATES]."""
    scenes = list(dict.fromkeys(scene for one in samples for scene in one.scenes))
    rng = np.random.default_rng(SEED)
    counts = rng.multinomial(len(scenes), np.full(len(scenes), 1 / len(scenes)), size=REPLICATES)
    return dict(zip(scenes, counts.T, strict=True))


def _each(drawn: dict[Hashable, np.ndarray], samples: Sequence[Sample]) -> list[tuple[np.ndarray, Sample]]:
    """Of each sample how often each of its boxes is drawn for each replicate, int [REPLICATES, N]."""
    return [(np.stack([drawn[scene] for scene in one.scenes], axis=1), one) for one in samples]


def _estimate(value: float, drawn: np.ndarray, samples: Sequence[Sample]) -> Estimate:
    if min(len(set(one.scenes)) for one in samples) < 2:
        return Estimate(value, float("nan"), float("nan"))
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return Estimate(value, float(low), float(high))
