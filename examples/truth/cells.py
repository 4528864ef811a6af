"""How tables and what stands in them are written."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def span(low: float, high: float) -> str:
    """An interval; a dash where it is unknown."""
    return "–" if np.isnan(low) else f"{low:.2f}–{high:.2f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> str:
    """A table whose first ``left`` columns are aligned to the left."""
    rule = ["---" if number < left else "--:" for number in range(len(head))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))
