"""The table of conventions for people; run as a module, this writes it into docs/onnx.md."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from boxcam.export.heads.conventions.entry import Entry, Told
from boxcam.export.heads.conventions.table import CONVENTIONS

PATH = Path("docs/onnx.md")
_BEGIN = "<!-- conventions: written by `python -m boxcam.export.heads.conventions.page` -->\n"
_END = "<!-- end of conventions -->\n"
_HEAD = """
| `--convention` | whose | outputs | boxes | scores | selection |
|---|---|---|---|---|---|
"""
_KINDS: Mapping[str, str] = {
    "selected": "the model's own",
    "candidates": "NMS is appended",
    "queries": "every row reports",
    "classes": "best classes",
}


def markdown() -> str:
    """The table, from the registered entries; those of plug-ins are left out."""
    own = [name for name in CONVENTIONS if name not in CONVENTIONS.plugins()]
    return _HEAD + "".join(_row(name, CONVENTIONS[name]) for name in own) + "\n"


def written(page: str) -> str:
    """The page with the present table."""
    before, _, rest = page.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return before + _BEGIN + markdown() + _END + after


def _row(name: str, entry: Entry) -> str:
    outputs = "; ".join(f"`{_named(entry, role)}` [{_shape(shape)}]" for role, shape in entry.tensors.items())
    boxes = "the whole image"
    if entry.boxes:
        units = ", ".join([_declared(entry.form, "format told"), _declared(entry.scale, "unit told")])
        boxes = f"`{entry.boxes}`, {units}"
    scores = f"`{entry.scores}`" + (f" x `{entry.objectness}`" if entry.objectness else "")
    scores += {"none": ""}.get(
        _declared(entry.activation, "told"), f", activation {_declared(entry.activation, 'told')}"
    )
    kind = _KINDS[entry.kind] + (f" ({entry.iou:g})" if entry.iou else "")
    return f"| `{name}` | {entry.models} | {outputs} | {boxes} | {scores} | {kind} |\n"


def _named(entry: Entry, role: str) -> str:
    """A role, or the names that its tensor must have one of."""
    return "` or `".join(entry.names.get(role, (role,)))


def _shape(shape: str) -> str:
    return shape.replace("1?, ", "").replace("*", "·").replace("+", " + ")


def _declared(told: Told, otherwise: str) -> str:
    return told if isinstance(told, str) else otherwise


if __name__ == "__main__":
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else PATH
    path.write_text(written(path.read_text(encoding="utf-8")), encoding="utf-8")
