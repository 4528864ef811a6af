"""Plausibility: was a model read right? What its graph and its boxes tell, whatever it was read as.

All other checks of an export prove that a bundle computes what the model computes *as it was read*. These ask whether
that is to be believed: one criterion a file, each with its thresholds, each of which the user can overrule by its name.
"""

from __future__ import annotations

from collections.abc import Sequence

from boxcam.bundle import Finding
from boxcam.errors import ImplausibleError, UnknownNameError
from boxcam.export.verify.plausible import boxes, decoded, normalisation, place, scores
from boxcam.export.verify.plausible.criterion import Criterion
from boxcam.export.verify.plausible.reading import Reading, Report, Subject, read

CRITERIA: dict[str, Criterion] = {
    one.name: one
    for one in (decoded.CRITERION, boxes.CRITERION, place.CRITERION, scores.CRITERION, normalisation.CRITERION)
}

__all__ = ["CRITERIA", "Criterion", "Finding", "Reading", "Report", "Subject", "check_names", "judge", "read", "refuse"]


def check_names(accept: Sequence[str]) -> None:
    """Refuse names of criteria that there are not.

    Raises:
        UnknownNameError: there is one.
    """
    for name in accept:
        if name not in CRITERIA:
            raise UnknownNameError.of("criterion", name, CRITERIA)


def judge(reading: Reading, accept: Sequence[str] = ()) -> tuple[Finding, ...]:
    """What all criteria say of a reading.

    Args:
        reading: the model as it was read.
        accept: names of criteria that are overruled.
    """
    found = (criterion.judge(reading, tuple(accept)) for criterion in CRITERIA.values())
    return tuple(one for one in found if one is not None)


def refuse(findings: Sequence[Finding]) -> None:
    """Refuse a reading that is not to be believed.

    Raises:
        ImplausibleError: a criterion speaks against it, and was not overruled; all that do are said.
    """
    against = [one.sentence for one in findings if one.verdict == "implausible" and not one.accepted]
    if against:
        raise ImplausibleError(" ".join(against))
