"""Normalisations."""

from __future__ import annotations

import numpy as np

from tests.export.autodiff.differences import Case

_rng = np.random.default_rng(4)


def _r(*shape: int) -> np.ndarray:
    return _rng.standard_normal(shape)


CASES = [
    Case("BatchNormalization", (_r(2, 3, 4, 2),), (_r(3), _r(3), _r(3), _rng.random(3) + 0.5)),
    Case("BatchNormalization", (_r(2, 3),), (_r(3), _r(3), _r(3), _rng.random(3) + 0.5), {"epsilon": 0.1}, 11),
    Case("BatchNormalization", (_r(2, 3, 4),), (_r(3), _r(3), _r(3), _rng.random(3) + 0.5), {}, 14),
    Case("InstanceNormalization", (_r(2, 3, 4, 3),), (_r(3), _r(3))),
    Case("InstanceNormalization", (_r(2, 3, 5),), (_r(3), _r(3)), {"epsilon": 0.1}, 11),
    Case("InstanceNormalization", (_r(1, 2, 2, 3, 2),), (_r(2), _r(2)), {}, 22),
    Case("GroupNormalization", (_r(2, 4, 3, 2),), (_r(2), _r(2)), {"num_groups": 2}, 18),
    Case("GroupNormalization", (_r(2, 6, 3, 2),), (_r(6), _r(6)), {"num_groups": 2}, 21),
    Case("GroupNormalization", (_r(2, 4, 5),), (_r(4), _r(4)), {"num_groups": 4, "epsilon": 0.1}, 21),
    Case("LayerNormalization", (_r(2, 3, 4),), (_r(4), _r(4)), {}, 17),
    Case("LayerNormalization", (_r(2, 3, 4),), (_r(3, 4),), {"axis": 1, "epsilon": 0.1}),
    Case("LayerNormalization", (_r(2, 3, 4),), (_r(3, 1),), {"axis": -2}, 21),
    Case("LayerNormalization", (_r(2, 3),), (_r(2, 3),), {"axis": 0}),
    Case("RMSNormalization", (_r(2, 3, 4),), (_r(4),), {}, 23),
    Case("RMSNormalization", (_r(2, 3, 4),), (_r(3, 4),), {"axis": 1, "epsilon": 0.1}, 23),
    Case("LpNormalization", (_r(2, 3, 4),), (), {}, 11),
    Case("LpNormalization", (_r(2, 3, 4),), (), {"axis": 1, "p": 1}),
    Case("LpNormalization", (_r(2, 3, 4),), (), {"axis": 0, "p": 2}, 22),
    Case("MeanVarianceNormalization", (_r(2, 3, 4, 2),), (), {}, 13),
    Case("MeanVarianceNormalization", (_r(2, 3, 4),), (), {"axes": [0, -1]}),
    Case("LRN", (_r(2, 5, 3, 2),), (), {"size": 3, "alpha": 0.3, "beta": 0.6, "bias": 1.5}),
    Case("LRN", (_r(2, 5, 3, 2),), (), {"size": 4, "alpha": 0.3}, 11),
]
