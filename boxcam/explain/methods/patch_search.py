"""Patch search."""

from __future__ import annotations

import math

import numpy as np

from boxcam.explain.methods.arithmetic import one_thread
from boxcam.explain.methods.search import Chosen, Float64, Lost, Patchwork, Trials

PASSES = 40
"""Forward passes for each box."""
SHARE = 0.25
"""Of the box's area: how much is hidden in each pass."""
_MAPS = 8.0
"""Standard deviation of how many log-odds the box depends on the guide's map, or on its own middle."""
_PATCH = 0.15
"""Standard deviation of how many it depends on a patch that no map shows; it falls off outside of the box."""
_LENGTH = 1.2
"""Over how many patches these go together."""
_NOISE = 0.3
"""Standard deviation of what no sum over patches explains."""
_EXPLORE = 0.5
"""The share of the passes that draw what they hide from what may be true; the others hide what is most likely."""
_SET = 0.6
"""How warm the patches of the best set are at least; the others are at most as warm as is left."""
_NOTHING = 1e-6
"""Log-odds below which nothing was lost."""
_ODDS = 0.003, 0.999
"""What is left of a box is held between these: log-odds have no end."""


def patch_search(patches: Patchwork, left: Lost, trials: Trials) -> Float64:
    """Patch search: log-odds(IoU · score) = e₀ - Σᵢ eᵢ over hidden patches i; the set of the lowest, and e.

    A quarter of the box's area is hidden in each forward pass. The loss is taken for a sum over patches, of which the
    guide's map, the middle of the box, and that neighbours are alike are what is believed beforehand (a Gaussian
    process, updated after each pass). The first two passes hide the guide's best patches and the middle; then, up to
    half of all, what is best in a draw from what may be true (Thompson sampling); then what is the best guess. The map
    is 0.6 on the set that cost the box the most, and adds what each patch costs by the last guess, as a share of the
    largest, times 0.4; so the others lie below. If no set cost the box anything, the map is empty.

    It aims at what greedy searches find in hundreds of passes a box, such as VPS (Chen et al., "Interpreting
    Object-level Foundation Models via Visual Precision Search", CVPR 2025, arXiv:2411.16198) with regions, insertion
    and deletion, and is none of them. Hidden is what `boxcam.explain.path.blurred` makes of the image, whole patches at
    a time, and measured is the largest IoU times score of the same class that the model reports.

    Args:
        patches: on the box and around it.
        left: runs the model.
        trials: how often, and the seed of what is drawn.

    Returns:
        float64 [n], 0 to 1.
    """
    with one_thread():
        return _search(patches, left, trials)


def _search(patches: Patchwork, left: Lost, trials: Trials) -> Float64:
    n, belief, start = len(patches.guide), _Belief(patches, trials.seed), _log_odds(patches.score)
    tried: list[tuple[float, Chosen]] = []
    for number in range(trials.passes):
        if number < len(belief.maps):
            values = belief.maps[number]
        else:
            values = belief.guess(draw=number < _EXPLORE * trials.passes)
        chosen = _another(_highest(values, patches), tried, belief, patches)
        if chosen is None:
            break
        remains = left(chosen)
        belief.learn(chosen, start - _log_odds(remains))
        tried.append((remains, chosen))
    lowest, best = min(tried, key=lambda one: one[0])
    if start - _log_odds(lowest) < _NOTHING:
        return np.zeros(n)
    costs = np.maximum(belief.guess(), 0)
    found: Float64 = _SET * best + (1 - _SET) * costs / max(costs.max(), _NOTHING)
    return found


def _another(
    chosen: Chosen, tried: list[tuple[float, Chosen]], belief: _Belief, patches: Patchwork, draws: int = 20
) -> Chosen | None:
    """A set that was not tried yet: this one, or one that is drawn; None if all that are drawn were."""
    for _ in range(draws):
        if not any((chosen == one).all() for _, one in tried):
            return chosen
        chosen = _highest(belief.guess(draw=True), patches)
    return None


class _Belief:
    """How many log-odds the box depends on each patch: what was believed beforehand, and what was seen.

    Attributes:
        maps: the guide's, if it shows any patch, and that of the middle of the box; each adds up to 1.
    """

    def __init__(self, patches: Patchwork, seed: int) -> None:
        middle = np.exp(-4 * (patches.offsets**2).sum(axis=1))
        self.maps: list[Float64] = [one / one.sum() for one in (patches.guide, middle) if one.sum() > 0]
        apart = ((patches.centres[:, None] - patches.centres) ** 2).sum(axis=-1)
        near = np.exp(-8 * np.maximum(np.abs(patches.offsets).max(axis=1) - 0.5, 0))
        self._prior = _PATCH**2 * np.exp(-apart / 2 / _LENGTH**2) * near[:, None] * near
        for one in self.maps:
            self._prior += _MAPS**2 * np.outer(one, one) / len(self.maps)
        self._root = np.linalg.cholesky(self._prior + 1e-9 * np.eye(len(near)))
        self._random = np.random.default_rng(seed)
        self._hidden: list[Chosen] = []
        self._lost: list[float] = []

    def learn(self, hidden: Chosen, lost: float) -> None:
        """Hiding these patches cost the box so many log-odds."""
        self._hidden.append(hidden)
        self._lost.append(lost)

    def guess(self, draw: bool = False) -> Float64:
        """What each patch costs, float64 [n]: the mean of what may be true, or a draw from it (Matheron's rule)."""
        n, count = len(self._root), len(self._hidden)
        start: Float64 = self._root @ self._random.standard_normal(n) if draw else np.zeros(n)
        if not count:
            return start
        noise = _NOISE * self._random.standard_normal(count) if draw else np.zeros(count)
        hidden = np.array(self._hidden, np.float64)
        across = self._prior @ hidden.T
        rest = np.array(self._lost) - hidden @ start - noise
        found: Float64 = start + across @ np.linalg.solve(hidden @ across + _NOISE**2 * np.eye(count), rest)
        return found


def _highest(values: Float64, patches: Patchwork) -> Chosen:
    """The patches of the highest values, as many as are hidden at a time; one at least."""
    chosen = np.zeros(len(values), np.bool_)
    chosen[np.argsort(-values, kind="stable")[: max(1, round(SHARE / patches.share))]] = True
    return chosen


def _log_odds(share: float) -> float:
    held = min(max(share, _ODDS[0]), _ODDS[1])
    return math.log(held / (1 - held))
