"""The second architecture against the first one, on figures made by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from examples.truth import page, second
from examples.truth.measure import BASELINES, DEFAULT, Row
from examples.truth.results import ALL, Audit, Energy, Results

GOOD, POOR, ALONE = Row("ssgradcam", "backbone.0"), Row("eigencam", "neck"), Row("d-rise, 5,000 masks")
SHARES = {Row(name): 0.1 for name in BASELINES} | {DEFAULT: 0.3, GOOD: 0.6, POOR: 0.05}


def energy(split: str, question: str, row: Row, share: float, pointing: float = 0.5) -> Energy:
    ahead = share - SHARES[DEFAULT]
    return Energy(split, question, row, share, share - 0.01, share, pointing, 5, 0, 0.1, ahead, ahead - 0.05, ahead)


def made(questions: tuple[str, ...], shares: dict[Row, float]) -> Results:
    found = [
        energy(split, question, row, share)
        for split in ("tuning", "reporting")
        for question in (*questions, ALL)
        for row, share in shares.items()
    ]
    audits = [
        Audit("reporting", cue, 0.975, row, share, share, share, 0.0, 1.0, 5, 5)
        for cue in questions
        if cue != "clean"
        for row, share in shares.items()
    ]
    return Results((), tuple(found), tuple(audits))


@pytest.fixture
def first() -> Results:
    return made(("clean", "inside", "beside"), {**SHARES, ALONE: 0.9})


def test_only_what_both_have_is_compared(first: Results) -> None:
    """A way that only the first has would be its best one."""
    other = made(("clean", "inside"), SHARES)
    here, there = second.shared(first, other)
    assert there == other
    assert {one.question for one in here.energies} == {"clean", "inside"}  # a mean over more questions is not of these
    assert {one.cue for one in here.audits} == {"inside"}
    assert ALONE not in {one.row for one in (*here.energies, *here.audits)}


def test_what_holds_here_too(first: Results) -> None:
    text = second.claims(first, made(("clean", "inside"), SHARES))
    assert "| most evidence on the truth | `ssgradcam`, backbone.0 | `ssgradcam`, backbone.0 |" in text
    assert "`ssgradcam`, backbone.0 | 0.60, place 1 of 3; against the default ++ | 0.60, place 1 of 3" in text
    assert "| more there than the default, on every question | 1 | 1 of these and 0 others: `ssgradcam`" in text
    assert "evidence on the truth |  | rank correlation 1.00 over 3 |" in text
    assert "*beside*" not in text


def test_what_is_turned_round_here(first: Results) -> None:
    text = second.claims(first, made(("clean", "inside"), {**SHARES, GOOD: 0.05, POOR: 0.6}))
    assert "| most evidence on the truth | `ssgradcam`, backbone.0 | `eigencam`, neck |" in text
    assert "place 1 of 3; against the default ++ | 0.05, place 3 of 3; against the default -- |" in text
    assert "| more there than the default, on every question | 1 | 0 of these and 1 others |" in text
    assert "evidence on the truth |  | rank correlation -1.00 over 3 |" in text


def test_how_often_a_map_is_highest_on_a_cue(first: Results) -> None:
    other = made(("clean", "inside"), SHARES)
    energies = [replace(one, pointing=0.9) if one.row == GOOD else one for one in other.energies]
    lines = second.claims(first, replace(other, energies=tuple(energies))).splitlines()
    (told,) = [line for line in lines if "highest on the cue *inside*" in line]
    assert told.endswith("| 50 % (`hirescam`, neck); 90 % (`ssgradcam`, backbone.0) |")


def test_each_way_has_a_line(first: Results) -> None:
    lines = second.compared(first, made(("clean", "inside"), SHARES)).splitlines()
    assert len(lines) == 2 + len(SHARES)
    assert lines[2] == (
        "| `ssgradcam`, backbone.0 | 0.60 | 0.60 (0.59–0.60) | 0.60 / 0.50 | 0.60 / 0.50 | ++ |  | 0.60 | 0.60"
        " | 0.60 (0.60–0.60) | – | 0 % |"
    )
    assert "clean: uniform, box, edges; inside: uniform, box, edges" in lines[-1]


def test_the_page_has_a_section_of_what_was_measured(first: Results) -> None:
    text = page.markdown(first, other=made(("clean", "inside"), SHARES))
    assert text.index("## Does it hold for another architecture?") < text.index("## What this does not say")
