"""D-RISE."""

from __future__ import annotations

import numpy as np

from boxcam.explain.methods.perturbation import Float64, Objects, overlaps


def drise(explained: Objects, found: Objects) -> Float64:
    """D-RISE: the weight of a masked image is maxⱼ IoU(b, bⱼ) · cos(p, pⱼ) · Oⱼ, over what is found on it.

    Petsiuk et al., "Black-box Explanation of Object Detectors via Saliency Maps", CVPR 2021 (arXiv:2006.03204),
    section 3.2: b is the box explained, p the probabilities of all of its classes, O the objectness; the map is the sum
    of the masks, each times its weight. Masks are theirs: 16x16 cells, of which each is open with probability 0.5,
    enlarged bilinearly and shifted by less than a cell (`boxcam.explain.masks`). Here

    - the bⱼ are what the deployed model reports, after its score threshold and its suppression; they take all that a
      detector proposes. Where nothing is left, the weight is 0;
    - O is what the score is of the probability of its class, at most 1: 1 for a detector without objectness;
    - where the bundle does not tell the probabilities of all classes, the weight is maxⱼ IoU(b, bⱼ) · sⱼ, over those
      found of the same class, s being their score, and a warning says so. Of a classifier, whose boxes are the whole
      image, that is RISE (Petsiuk et al., BMVC 2018, arXiv:1806.07421);
    - what is hidden becomes black, as in code that others publish;
    - the sum is divided by the number of masks and the share of cells that are open, as in RISE: a map tells the mean
      weight of the masks that show a pixel. Its smallest value is then taken away, as it is where maps are drawn: 0 is
      where hiding costs least.

    Args:
        explained: the K boxes.
        found: what the model reports on the masked image.

    Returns:
        float64 [K].
    """
    if not len(found):
        return np.zeros(len(explained))
    if explained.classes is None or found.classes is None:
        alike = (explained.labels[:, None] == found.labels) * found.scores.astype(np.float64)
    else:
        alike = _cosines(explained.classes, found.classes) * found.objectness
    weights: Float64 = (overlaps(explained.boxes, found.boxes) * alike).max(axis=1)
    return weights


def _cosines(ones: Float64, others: Float64) -> Float64:
    """The cosine of each vector with each other one: float64 [K, N]; 0 where one has no length."""
    lengths = np.linalg.norm(ones, axis=1)[:, None] * np.linalg.norm(others, axis=1)
    found: Float64 = np.divide(ones @ others.T, lengths, out=np.zeros(lengths.shape), where=lengths > 0)
    return found
