"""Maps of every method that were worked out by hand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from boxcam.types import CellMap, Float, Patch
from tests.cams import BY_GRADIENT

ACTIVATION = np.array([[[1, 2], [3, 4]], [[1, 0], [0, 2]]], np.float32)


def patch(gradient: object, corner: tuple[int, int] = (0, 0), uniform: object = None) -> Patch:
    even = None if uniform is None else np.array(uniform, np.float32)
    return Patch(0, 0, corner, np.array(gradient, np.float32), even)


def one(name: str, activation: Float, given: Patch) -> CellMap:
    """The map of one box alone."""
    (cells,) = BY_GRADIENT[name](activation, [given])
    return cells


@dataclass(frozen=True)
class Golden:
    """A case whose answer was worked out on paper; ``why`` is the working."""

    activation: Float
    patch: Patch
    values: list[list[float]]
    corner: tuple[int, int]
    why: str


_STRONGEST = [
    Golden(
        ACTIVATION,
        patch([[[1, -5], [0, 2]], [[-4, 3], [0, 2]]]),
        [[4, 5], [0, 2]],
        (0, 0),
        "the larger of |1| and |-4|, of |-5| and |3|, of 0 and 0, of |2| and |2|, whatever the activation",
    ),
    Golden(ACTIVATION, patch([[[-8]], [[4]]], corner=(1, 1)), [[8]], (1, 1), "on the patch only"),
    Golden(
        ACTIVATION,
        patch([[[7, 7], [7, 5]], [[7, 7], [7, -6]]], corner=(-1, -1)),
        [[0, 0], [0, 6]],
        (-1, -1),
        "what overhangs is zero",
    ),
    Golden(ACTIVATION, patch([[[4]], [[4]]], corner=(0, -1)), [[0]], (0, -1), "wholly outside the map"),
    Golden(
        ACTIVATION,
        patch([[[5]], [[-1]]], corner=(1, 0), uniform=[-3, 2]),
        [[3, 3], [2, 3]],
        (0, 0),
        "|-3| everywhere but in cell (1, 0), where it is the larger of |5 - 3| and |-1 + 2|",
    ),
    Golden(ACTIVATION, patch(np.zeros((2, 0, 0)), uniform=[1, -2]), [[2, 2], [2, 2]], (0, 0), "uniform only"),
]
RECTIFIED = np.array([[[1, 1], [0, 0]], [[0, 2], [2, 0]]], np.float32)
"""Features whose channels add up to 2 and 4."""
TWO_CELLS = np.array([[[0, 3]], [[0, 4]]], np.float32)
GOLDENS: dict[str, list[Golden]] = {
    **dict.fromkeys(("saliency", "guided-backprop", "guided-gradcam"), _STRONGEST),
    "gradcam": [
        Golden(
            ACTIVATION,
            patch([[[1, 1], [1, 1]], [[-4, 0], [0, -4]]]),
            [[0, 2], [3, 0]],
            (0, 0),
            "alpha = 4/4, -8/4; 1·[1 2; 3 4] - 2·[1 0; 0 2] = [-1 2; 3 0]; ReLU",
        ),
        Golden(
            ACTIVATION,
            patch([[[8]], [[4]]], corner=(1, 0)),
            [[3, 4], [6, 10]],
            (0, 0),
            "alpha = 8/4, 4/4, over the whole map's 4 cells; 2·[1 2; 3 4] + 1·[1 0; 0 2], on the whole map",
        ),
        Golden(
            ACTIVATION,
            patch([[[100, 100], [100, 4]], [[100, 100], [100, -8]]], corner=(-1, -1)),
            [[0, 2], [3, 0]],
            (0, 0),
            "only the lower right of the patch is on the map: alpha = 4/4, -8/4",
        ),
        Golden(ACTIVATION, patch([[[4]], [[4]]], corner=(2, 0)), [[0, 0], [0, 0]], (0, 0), "wholly outside the map"),
        Golden(
            ACTIVATION,
            patch([[[-1, -1], [-1, -1]], [[0, 0], [0, 0]]]),
            [[0, 0], [0, 0]],
            (0, 0),
            "all evidence is against: alpha = -1, 0; -[1 2; 3 4] is negative everywhere",
        ),
        Golden(
            np.array([[[3]], [[-2]]], np.float32),
            patch([[[2]], [[0.5]]]),
            [[5]],
            (0, 0),
            "one cell: alpha = 2, 0.5; 6 - 1",
        ),
        Golden(
            ACTIVATION,
            patch([[[8]], [[4]]], corner=(1, 0), uniform=[-1, 2]),
            [[4, 2], [3, 10]],
            (0, 0),
            "alpha = 8/4 - 1, 4/4 + 2; 1·[1 2; 3 4] + 3·[1 0; 0 2]",
        ),
        Golden(
            ACTIVATION,
            patch(np.zeros((2, 0, 0)), uniform=[1, -3]),
            [[0, 2], [3, 0]],
            (0, 0),
            "alpha = 1, -3; [1 2; 3 4] - 3·[1 0; 0 2] = [-2 2; 3 -2]; ReLU",
        ),
    ],
    "hirescam": [
        Golden(
            ACTIVATION,
            patch([[[1, 1], [1, 1]], [[-4, 0], [0, -4]]]),
            [[-3, 2], [3, -4]],
            (0, 0),
            "[1 2; 3 4]·1 + [1·-4 0; 0 2·-4], negative evidence stays",
        ),
        Golden(ACTIVATION, patch([[[8]], [[4]]], corner=(1, 1)), [[40]], (1, 1), "8·4 + 4·2, on the patch only"),
        Golden(
            ACTIVATION,
            patch([[[100, 100], [100, 5]], [[100, 100], [100, -8]]], corner=(-1, -1)),
            [[0, 0], [0, -3]],
            (-1, -1),
            "5·1 - 8·1 in cell (0, 0) of the map; what overhangs is zero",
        ),
        Golden(
            ACTIVATION,
            patch([[[1, 2, 7], [7, 7, 7]], [[3, 4, 7], [7, 7, 7]]], corner=(1, 0)),
            [[3, 16, 0], [0, 0, 0]],
            (1, 0),
            "1·3 + 3·0, 2·4 + 4·2; overhangs below and to the right",
        ),
        Golden(ACTIVATION, patch([[[4]], [[4]]], corner=(0, -1)), [[0]], (0, -1), "wholly outside the map"),
        Golden(np.array([[[3]], [[-2]]], np.float32), patch([[[2]], [[0.5]]]), [[5]], (0, 0), "one cell: 2·3 + 0.5·-2"),
        Golden(
            ACTIVATION,
            patch([[[8]], [[4]]], corner=(1, 1), uniform=[-1, 3]),
            [[2, -2], [-3, 42]],
            (0, 0),
            "-[1 2; 3 4] + 3·[1 0; 0 2] = [2 -2; -3 2] on the whole map, and 8·4 + 4·2 in cell (1, 1)",
        ),
        Golden(
            ACTIVATION,
            patch([[[9, 9], [9, 5]], [[9, 9], [9, -8]]], corner=(-1, -1), uniform=[1, 0]),
            [[-2, 2], [3, 4]],
            (0, 0),
            "[1 2; 3 4], and 5·1 - 8·1 in cell (0, 0); what overhangs has no place in the map",
        ),
        Golden(
            ACTIVATION, patch([[[4]], [[4]]], corner=(0, 7), uniform=[1, 1]), [[2, 2], [3, 6]], (0, 0), "uniform only"
        ),
    ],
    "gradcam++": [
        Golden(
            RECTIFIED,
            patch([[[1, 3], [-5, 0]], [[0.5, -1], [0, 0]]]),
            [[0.625, 0.875], [0.25, 0]],
            (0, 0),
            "w = 1/(2 + 2·1) + 3/(2 + 2·3) = 5/8, 0.5/(2 + 4·0.5) = 1/8; 5/8·[1 1; 0 0] + 1/8·[0 2; 2 0]",
        ),
        Golden(
            np.array([[[-2, 1], [0, 0]]], np.float32),
            patch([[[2, 0], [0, 1]]]),
            [[0, 1], [0, 0]],
            (0, 0),
            "the features add up to -1: 2 - 2 = 0 for G = 2, which then counts nothing; 1/(2 - 1) = 1; ReLU",
        ),
        Golden(
            RECTIFIED,
            patch([[[9, 9], [9, 1]], [[9, 9], [9, 0.5]]], corner=(-1, -1)),
            [[0.25, 0.5], [0.25, 0]],
            (0, 0),
            "only the lower right of the patch is on the map: w = 1/4, 1/8",
        ),
        Golden(
            RECTIFIED,
            patch([[[2]], [[1.5]]], uniform=[1, -1]),
            [[1.125, 1.375], [0.25, 0]],
            (0, 0),
            "G = 3, 0.5 in cell (0, 0), 1, -1 in the others: w = 3/8 + 3·1/4 = 9/8, 1/8",
        ),
        Golden(RECTIFIED, patch([[[4]], [[4]]], corner=(2, 0)), [[0, 0], [0, 0]], (0, 0), "wholly outside the map"),
    ],
    "xgradcam": [
        Golden(
            RECTIFIED,
            patch([[[1, 3], [-5, 7]], [[5, -1], [2, 5]]]),
            [[2, 3], [1, 0]],
            (0, 0),
            "w = (1 + 3)/2, (-2 + 4)/4; 2·[1 1; 0 0] + 0.5·[0 2; 2 0]",
        ),
        Golden(
            np.array([[[1, -1]], [[1, 1]]], np.float32),
            patch([[[5, 3]], [[1, 0]]]),
            [[0.5, 0.5]],
            (0, 0),
            "channel 0 adds up to zero, and has no weight; w = 1/2 of channel 1",
        ),
        Golden(
            RECTIFIED,
            patch([[[3]], [[2]]], corner=(0, 1), uniform=[1, -1]),
            [[2.5, 2.5], [0, 0]],
            (0, 0),
            "G = 4, 1 in cell (0, 1), 1, -1 in the others: w = (1 + 4)/2, (2 - 2)/4",
        ),
        Golden(RECTIFIED, patch([[[-1, -1], [0, 0]], [[0, 0], [0, 0]]]), [[0, 0], [0, 0]], (0, 0), "w = -1, 0; ReLU"),
    ],
    "layercam": [
        Golden(
            ACTIVATION,
            patch([[[1, 1], [1, 1]], [[-4, 0], [0, -4]]]),
            [[1, 2], [3, 4]],
            (0, 0),
            "1·[1 2; 3 4]; what speaks against the box counts nothing",
        ),
        Golden(np.array([[[-3]], [[2]]], np.float32), patch([[[1]], [[1]]]), [[0]], (0, 0), "-3 + 2, ReLU"),
        Golden(
            ACTIVATION,
            patch([[[9, 9], [9, 5]], [[9, 9], [9, -8]]], corner=(-1, -1)),
            [[0, 0], [0, 5]],
            (-1, -1),
            "5·1 in cell (0, 0) of the map; what overhangs is zero",
        ),
        Golden(
            ACTIVATION,
            patch([[[8]], [[4]]], corner=(1, 1), uniform=[-1, 3]),
            [[3, 0], [0, 42]],
            (0, 0),
            "3·[1 0; 0 2], and (8 - 1)·4 + (4 + 3)·2 in cell (1, 1)",
        ),
    ],
    "odam": [
        Golden(
            ACTIVATION,
            patch([[[1, 1], [1, 1]], [[-4, 0], [0, -4]]]),
            [[0, 2], [3, 0]],
            (0, 0),
            "HiResCAM's [-3 2; 3 -4]; ReLU",
        ),
        Golden(ACTIVATION, patch([[[8]], [[4]]], corner=(1, 1)), [[40]], (1, 1), "8·4 + 4·2, on the patch only"),
        Golden(
            ACTIVATION,
            patch([[[8]], [[4]]], corner=(1, 1), uniform=[-1, 3]),
            [[2, 0], [0, 42]],
            (0, 0),
            "HiResCAM's [2 -2; -3 42]; ReLU",
        ),
    ],
    "ssgradcam": [
        Golden(
            ACTIVATION,
            patch([[[4, 2], [-2, 0]], [[0, 0], [0, -8]]]),
            [[1, 1], [1.5, 0]],
            (0, 0),
            "alpha = 4/4, -8/4; S = [1 1/2; 1/2 0], [0 0; 0 1]; [1·1 1/2·2; 1/2·3 -2·1·2]; ReLU",
        ),
        Golden(ACTIVATION, patch([[[8]], [[4]]], corner=(1, 0)), [[6]], (1, 0), "alpha = 8/4, 4/4; 2·3 + 1·0"),
        Golden(
            ACTIVATION,
            patch([[[3]], [[-3]]], uniform=[1, 1]),
            [[2, 0.875], [1.3125, 2]],
            (0, 0),
            "alpha = (4 + 3)/4, (-2 + 3)/4; S = 1 in cell (0, 0), 1/4 and 1/2 elsewhere; 7/4·1 + 1/4·1, 7/16·2,"
            " 7/16·3, 7/16·4 + 1/8·2",
        ),
        Golden(ACTIVATION, patch([[[4]], [[4]]], corner=(0, -1)), [[0]], (0, -1), "wholly outside the map"),
    ],
    "ssgradcam++": [
        Golden(
            np.array([[[2, 1], [0, 0]], [[0, 4], [2, 0]]], np.float32),
            patch([[[1, 0], [-2, 0]], [[0, 0.5], [0, 0]]]),
            [[0.25, 0.5], [0, 0]],
            (0, 0),
            "the gradient reaches 2 + 0 of channel 0, 4 of channel 1: w = 1/(2 + 2), 0.5/(2 + 2);"
            " S = [1/2 0; 1 0], [0 1; 0 0]; 1/4·1/2·2, 1/8·1·4, 1/4·1·0",
        ),
        Golden(
            np.array([[[1, -1], [0, 0]], [[5, 5], [5, 5]]], np.float32),
            patch([[[1]], [[0]]], uniform=[1, 0]),
            [[2.5, 0], [0, 0]],
            (0, 0),
            "G = 2 in cell (0, 0), 1 in the others, of features that add up to 0: w = (2 + 3)/2; S = 1, 1/2;"
            " 2.5·1·1, 2.5·1/2·-1; channel 1 has no gradient; ReLU",
        ),
        Golden(
            np.array([[[5, 2]]], np.float32),
            patch([[[1]]], corner=(0, 1)),
            [[0.5]],
            (0, 1),
            "1/(2 + 2·1)·1·2: the 5, which the box does not depend on, changes nothing",
        ),
    ],
    "eigencam": [
        Golden(
            np.array([[[1, 3], [1, 3]], [[5, 5], [5, 5]]], np.float32),
            patch([[[7]], [[-9]]]),
            [[0, 1], [0, 1]],
            (0, 0),
            "all variance is in channel 0, of mean 2; no gradient is read",
        ),
        Golden(TWO_CELLS, patch([[[0, 0]], [[0, 0]]]), [[0, 2.5]], (0, 0), "v = (3 4)/5; ±(1.5 2)·v = ±2.5"),
        Golden(
            np.array([[[0, 3]], [[0, -4]]], np.float32),
            patch([[[1]], [[1]]]),
            [[2.5, 0]],
            (0, 0),
            "v = (-3 4)/5, so that it adds up to more than zero: the map rises where the features' sum does",
        ),
        Golden(np.ones((2, 2, 2), np.float32), patch([[[1]], [[1]]]), [[0, 0], [0, 0]], (0, 0), "nothing stands out"),
    ],
    "eigengradcam": [
        Golden(TWO_CELLS, patch([[[9, 1]], [[9, 1]]]), [[0, 2.5]], (0, 0), "X = (0 0), (3 4), as of eigencam"),
        Golden(TWO_CELLS, patch([[[1]], [[1]]], corner=(0, 1)), [[0, 2.5]], (0, 0), "the same, by a patch"),
        Golden(
            np.ones((2, 2, 2), np.float32),
            patch([[[3]], [[4]]]),
            [[3.75, 0], [0, 0]],
            (0, 0),
            "X = (3 4) in cell (0, 0), of mean (3 4)/4: 5 - 5/4 there, -5/4 elsewhere",
        ),
        Golden(
            np.ones((2, 2, 2), np.float32),
            patch([[[-3]], [[-4]]]),
            [[0, 1.25], [1.25, 1.25]],
            (0, 0),
            "all but the cell that speaks against the box",
        ),
        Golden(TWO_CELLS, patch(np.zeros((2, 0, 0)), uniform=[1, 1]), [[0, 2.5]], (0, 0), "uniform only"),
        Golden(
            TWO_CELLS, patch([[[4]], [[5]]], corner=(0, 0), uniform=[1, 1]), [[0, 2.5]], (0, 0), "0·5, 0·6 in cell 0"
        ),
    ],
}
GOLDENS["finer-cam"] = GOLDENS["gradcam"]  # of differences of classes
GOLDENS["finer-hirescam"] = GOLDENS["hirescam"]
GOLDENS["smooth-grad"] = GOLDENS["saliency"]  # of a mean gradient
GOLDENS["odam-combined"] = GOLDENS["odam"]  # of each of its targets
GOLDENS["integrated-gradients"] = GOLDENS["hirescam"]  # of what the features change by in a step
GOLDENS["regional-gradients"] = GOLDENS["hirescam"]  # the same; over regions are the sums of all steps
