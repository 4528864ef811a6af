"""Before anything is differentiated: is it believed that the model was read right, and what does it find?"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from boxcam.bundle import Finding, SampleResult
from boxcam.errors import BoxcamWarning, ImplausibleError, SourceError
from boxcam.export.steps.prepare import Preparation, Wishes
from boxcam.export.verify import sample
from boxcam.export.verify.expected import Comparison, Expected, Found, compare
from boxcam.export.verify.plausible import Reading, Subject, judge, read, refuse
from boxcam.export.verify.plausible.reading import Report
from boxcam.plurals import counted, verb
from boxcam.types import Image


@dataclass(frozen=True, eq=False)
class Belief:
    """What is known of whether a model was read right.

    Attributes:
        findings: of all criteria.
        sample: what was found on the user's picture, or on a synthetic one; None where the model runs on none.
        picture: that picture with its boxes.
    """

    findings: tuple[Finding, ...]
    sample: SampleResult | None
    picture: Image | None


def believe(prepared: Preparation, wishes: Wishes) -> Belief:
    """Ask all criteria, and the user's own code where it is there.

    Raises:
        ImplausibleError: a criterion speaks against the reading and was not overruled, or the user's code finds
            something else.
        SourceError: there is something to compare with, and no sample.

    Warns:
        BoxcamWarning: a criterion has doubts.
    """
    wishes.progress("looking at what it finds")
    source = prepared.source
    subject = Subject(
        file=wishes.request.arguments[0],
        model=prepared.graphs.base,
        samples=prepared.samples,
        outputs=source.outputs,
        labels=source.labels,
        interpretation=source.interpretation,
    )
    reading = read(subject)
    findings = judge(reading, wishes.accept)
    report = sample.shown(reading)
    result = None if report is None else sample.result(reading, report)
    if wishes.expected is not None:
        if report is None or not report.picture.is_given:
            raise SourceError("expect= is what your own code finds on the sample. Pass that image with sample=.")
        compared = _require_expected(reading, report, wishes)
        if compared.pairs and result is not None:
            findings = tuple(_settled(one) for one in findings)
            result = replace(result, expected=Path(wishes.expected.file).name)
    refuse(findings)
    for one in findings:
        if one.verdict == "doubtful" and not one.accepted:
            warnings.warn(one.sentence, BoxcamWarning, stacklevel=2)
    return Belief(findings, result, None if report is None else sample.draw(reading, report))


def _settled(finding: Finding) -> Finding:
    """A finding that the user's own code overrules: it finds the same."""
    return replace(finding, accepted=finding.accepted or finding.verdict in ("implausible", "doubtful"))


def _require_expected(reading: Reading, report: Report, wishes: Wishes) -> Comparison:
    """Compare with what the user's own code finds.

    Raises:
        ImplausibleError: it is something else; a picture of both is written next to the bundle.
    """
    own, expected, output = report.found, wishes.expected, wishes.output
    assert expected is not None
    boxes = sample.on_picture(report, own).astype(np.float64)
    found = Found(boxes, own.scores, own.labels, reading.subject.labels)
    compared = compare(expected, found, wishes.request.score_threshold)
    if compared.agrees:
        return compared
    path = output.with_name(f"{output.name.removesuffix('.boxcam')}.expect.png")
    sample.save(_both(report, found, expected, compared), path)
    count, lost, more = len(expected.scores), len(compared.missing), len(compared.surplus)
    lower = ""
    if compared.surplus and reading.subject.interpretation is not None:
        lower = " If your code leaves out what scores below a threshold, pass that threshold as score_threshold=."
    raise ImplausibleError(
        f"{reading.file}: on {report.picture.name} it does not find what {expected.file} expects:"
        f" {lost} of {counted(count, 'box', 'boxes')} {verb(lost, 'is', 'are')} missing, {more}"
        f" {verb(more, 'is', 'are')} too many"
        f" ({'; '.join(compared.problems)}). {path} shows both. Check preprocess=, box_format=, box_scale=,"
        f" score_activation= and class_names=.{lower}"
    )


def _both(report: Report, found: Found, expected: Expected, compared: Comparison) -> Image:
    """The sample with the boxes of both."""
    own = found.boxes.astype(np.float32)
    same = [own[k] for _, k in compared.pairs]
    ours = [(own[k], f"{found.name(int(found.labels[k]))} {found.scores[k]:.2f}") for k in compared.surplus]
    theirs: list[sample.Named] = []
    if expected.boxes is not None:
        boxes = expected.boxes.astype(np.float32)
        theirs = [(boxes[k], f"{expected.labels[k]} {expected.scores[k]:.2f}") for k in compared.missing]
    return sample.draw_both(report.picture.pixels, same, ours, theirs)
