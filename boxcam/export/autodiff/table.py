"""docs/operators.md: which operators a gradient passes.  ``python -m boxcam.export.autodiff.table`` writes it."""

from __future__ import annotations

import sys
from pathlib import Path

from boxcam.export.autodiff import rules as _rules  # noqa: F401  (registers them)
from boxcam.export.autodiff.rule import OPSET, RULES, ZERO, table

PATH = Path("docs/operators.md")

_HEAD = f"""\
# Operators that a gradient passes

What lies between the layer and the scores is differentiated from the ONNX graph, operator by operator. It may have
any opset from 7 on; the gradient is a graph of opset {OPSET}, of standard operators only.

- **rule**: the gradient is computed. Each rule is checked against central finite differences in double precision.
- **zero**: the gradient is zero wherever it exists, so that nothing is computed.
- Any other operator is **unsupported**: export stops, and names the node. Choose a layer after it.

Inputs that hold indices, sizes or conditions get no gradient.

| operator | verdict | note |
|---|---|---|
"""


def markdown() -> str:
    """The page, from the registered rules."""
    return _HEAD + "".join(f"| {name} | {verdict} | {_note(name)} |\n" for name, verdict in table().items())


def _note(name: str) -> str:
    return RULES[name].note if name in RULES else ZERO[name]


if __name__ == "__main__":
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else PATH
    path.write_text(markdown(), encoding="utf-8")
