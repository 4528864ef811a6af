"""What the page says of a way to make a map, on figures made by hand; and that the page is that of the figures kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from examples.truth import page
from examples.truth.measure import DEFAULT, Row
from examples.truth.results import Audit, Energy, Level, Results, read
from examples.truth.verdict import (
    against_default,
    best_layers,
    best_row,
    mean_energy,
    methods_in,
    not_above,
    sentences,
    share_of,
    told_models,
    trusted,
)

UNIFORM, BOX, EDGES, GOOD, POOR = map(Row, ("uniform", "the box itself", "edge detector", "d-rise", "eigencam"))
SHARES = {UNIFORM: (0.1, 0.2), BOX: (0.0, 0.5), EDGES: (0.2, 0.3), GOOD: (0.3, 0.6), POOR: (0.2, 0.1)}
"""Of the questions far and clean."""
AHEAD = {UNIFORM: (0, -1, 1), BOX: (0, -1, 1), EDGES: (0, -1, 1), GOOD: (0.2, 0.1, 0.3), POOR: (-0.2, -0.3, -0.1)}
"""How far they are ahead of the default, and the ends of the interval."""


def energies(split: str, shares: dict[Row, tuple[float, float]]) -> list[Energy]:
    return [
        Energy(split, question, row, share, share, share, 1.0, 5, 0, 0.1, *AHEAD[row])
        for row, values in shares.items()
        for question, share in zip(("far", "clean"), values, strict=True)
    ]


def audit(
    row: Row, auroc: float, alarms: float, cue: str = "far", split: str = "reporting", dose: float = 0.975
) -> Audit:
    return Audit(split, cue, dose, row, auroc, auroc, auroc, alarms, 0.9, 5, 5)


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
    assert trusted(replace(RESULTS, audits=(*AUDITS, audit(GOOD, 0.0, 1.0, dose=0.6))), GOOD)  # of a lower dose


def test_the_default_is_beaten_where_the_interval_says_so() -> None:
    assert against_default(RESULTS, GOOD) == "++"
    assert against_default(RESULTS, POOR) == "--"
    assert against_default(RESULTS, BOX) == "=="
    assert against_default(replace(RESULTS, energies=RESULTS.energies[:-1]), POOR) == ""  # of one question nothing


def test_each_method_has_its_best_layer() -> None:
    first, second, other = Row("odam", "neck"), Row("odam", "image"), Row("gradcam", "neck")
    assert best_layers([first, other, second], {first: 0.1, second: 0.5, other: 0.3}.__getitem__) == [second, other]


def test_models_are_told_by_the_means_over_their_boxes() -> None:
    levels = (
        Level("clean-1", "far", GOOD, 1.0),
        Level("far-0.9-1", "far", GOOD, 2.0),
        Level("clean-1", "far", POOR, 9.0),
    )
    assert told_models(replace(RESULTS, levels=levels), GOOD) == 1.0
    assert np.isnan(told_models(replace(RESULTS, levels=levels), POOR))


def test_the_sentences_count_and_list() -> None:
    above, below, default, sure = sentences(RESULTS)
    assert above.startswith("1 of 2 methods and layers put more")
    assert above.endswith("on every question: `d-rise`.")
    assert below.startswith("1 put no more there than a *uniform map*")
    assert below.endswith(": `eigencam`.")
    assert "1 put more there than the default, `hirescam`, neck, on every question" in default
    assert default.endswith("`d-rise`. 1 put less there on every question: `eigencam`.")
    assert sure.startswith("1 tell planted boxes from clean ones")
    assert sure.endswith(": `d-rise`.")
    (_, nothing, *_) = sentences(replace(RESULTS, energies=tuple(one for one in RESULTS.energies if one.row != POOR)))
    assert nothing.startswith("0 put no more there")
    assert nothing.endswith(": none.")


def test_a_sentence_names_no_more_than_a_few() -> None:
    many = {Row("gradcam", f"layer {k}"): (0.9, 0.9) for k in range(12)}
    more = [replace(one, row=row) for row in many for one in RESULTS.energies if one.row == GOOD]
    (above, *_) = sentences(replace(RESULTS, energies=(*RESULTS.energies, *more)))
    assert above.startswith("13 of 14 methods")
    assert above.endswith("; and 5 more.")


def test_what_the_page_says_in_words_holds() -> None:
    results = read()

    def share(cue: str, row: Row) -> float:
        return share_of(results, "reporting", cue, row)

    rows = methods_in(results)
    assert all(share("beside", row) < 0.1 for row in rows if row.layer == "neck")
    for method in ("gradcam", "ssgradcam", "xgradcam", "finer-hirescam"):
        row = Row(method, "backbone.0")
        assert share("beside", row) > share("beside", Row("hirescam", "backbone.0"))
        assert share("beside", row) > 4 * share("beside", DEFAULT)
        assert share("inside", row) > share("inside", DEFAULT)
    searches = [row for row in rows if row.method == "patch-search"]
    assert len(searches) > 2
    assert all(share("beside", row) < 0.1 and share("inside", row) > 1.5 * share("inside", DEFAULT) for row in searches)
    assert max(share(cue, GOOD) for cue in ("inside", "beside")) < 0.1


def test_the_page_is_that_of_the_figures() -> None:
    """Otherwise run ``python -m examples.truth.run --page``."""
    assert page.PATH.read_text(encoding="utf-8") == page.markdown(read())
