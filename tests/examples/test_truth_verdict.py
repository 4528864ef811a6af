"""What the page says of a way to make a map, on figures made by hand; and that the page is that of the figures kept."""

from __future__ import annotations

from dataclasses import replace

from examples.truth import page
from examples.truth.measure import Row
from examples.truth.results import Audit, Energy, Results, read
from examples.truth.verdict import best_row, mean_energy, not_above, sentences, trusted

UNIFORM, BOX, EDGES, GOOD, POOR = map(Row, ("uniform", "the box itself", "edge detector", "d-rise", "eigencam"))
SHARES = {UNIFORM: (0.1, 0.2), BOX: (0.0, 0.5), EDGES: (0.2, 0.3), GOOD: (0.3, 0.6), POOR: (0.2, 0.1)}
"""Of the questions far and clean."""


def energies(split: str, shares: dict[Row, tuple[float, float]]) -> list[Energy]:
    return [
        Energy(split, question, row, share, 1.0, 5, 0, 0.1)
        for row, values in shares.items()
        for question, share in zip(("far", "clean"), values, strict=True)
    ]


def audit(row: Row, auroc: float, alarms: float, cue: str = "far", split: str = "reporting") -> Audit:
    return Audit(split, cue, row, auroc, alarms, 0.9, 5, 5, 3.0, 1.0)


AUDITS = (audit(GOOD, 0.95, 0.05), audit(POOR, 0.99, 0.06))
RESULTS = Results((), tuple(energies("reporting", SHARES)), AUDITS)


def test_a_baseline_that_a_map_does_not_beat_is_named_with_its_question() -> None:
    assert not_above(RESULTS, GOOD) == {}
    assert not_above(RESULTS, POOR) == {
        "far": ["edge detector"],  # as much is not more
        "clean": ["uniform", "the box itself", "edge detector"],
    }


def test_a_map_without_figures_beats_nothing() -> None:
    empty = [replace(one, energy=float("nan")) if one.row == GOOD else one for one in RESULTS.energies]
    assert not_above(replace(RESULTS, energies=tuple(empty)), GOOD)["far"] == [
        "uniform",
        "the box itself",
        "edge detector",
    ]


def test_the_best_is_chosen_on_tuning_pictures_alone() -> None:
    other = energies("tuning", {**SHARES, POOR: (0.9, 0.9)})
    found = replace(RESULTS, energies=(*RESULTS.energies, *other))
    assert best_row(found) == POOR
    assert mean_energy(found, "tuning", POOR) == 0.9
    assert round(mean_energy(found, "reporting", POOR), 6) == 0.15


def test_maps_are_trusted_by_each_cue_and_without_alarms() -> None:
    assert trusted(RESULTS, GOOD)
    assert not trusted(RESULTS, POOR)  # false alarms
    assert not trusted(RESULTS, BOX)  # nothing is known
    assert not trusted(replace(RESULTS, audits=(*AUDITS, audit(GOOD, 0.94, 0.0, "inside"))), GOOD)
    assert trusted(replace(RESULTS, audits=(*AUDITS, audit(GOOD, 0.0, 1.0, "inside", "tuning"))), GOOD)


def test_the_sentences_count_and_list() -> None:
    above, below, sure = sentences(RESULTS)
    assert above.startswith("1 of 2 methods and layers put more")
    assert above.endswith("on every question: `d-rise`.")
    assert below.startswith("1 put no more there than a *uniform map*")
    assert below.endswith(": `eigencam`.")
    assert sure.startswith("1 tell planted boxes from clean ones")
    assert sure.endswith(": `d-rise`.")
    (_, nothing, _) = sentences(replace(RESULTS, energies=tuple(one for one in RESULTS.energies if one.row != POOR)))
    assert nothing.startswith("0 put no more there")
    assert nothing.endswith(": none.")


def test_the_page_is_that_of_the_figures() -> None:
    """Otherwise run ``python -m examples.truth.run --page``."""
    assert page.PATH.read_text(encoding="utf-8") == page.markdown(read())
