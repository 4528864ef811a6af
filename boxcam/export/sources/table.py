"""What can be exported, for people: as the help of `boxcam export` and as a page of the documentation.

``python -m boxcam.export.sources.table`` writes docs/sources.md.
"""

from __future__ import annotations

import sys
from pathlib import Path

from boxcam.export import sources as _sources  # noqa: F401  (registers boxcam's own)
from boxcam.export.source import SOURCES

PATH = Path("docs/sources.md")

_HEAD = """\
# What can be exported

`boxcam export MODEL…` tells by its arguments what MODEL is; `--source KIND` says it where that is not clear. Each kind
needs one of boxcam's extras, for exporting only: explaining a bundle needs none of them.

| MODEL | what it is | KIND | extra | options for it alone |
|---|---|---|---|---|
"""


def forms() -> list[tuple[str, str]]:
    """What MODEL can be, and what that is, source by source."""
    return [(source.usage, source.meaning) for source in SOURCES.loaded().values()]


def examples() -> list[str]:
    """Command lines."""
    return [f"boxcam export {example}" for source in SOURCES.loaded().values() for example in source.examples]


def markdown() -> str:
    """The page, from the registered sources; those of plug-ins are left out."""
    own = [name for name in SOURCES if name not in SOURCES.plugins()]
    return _HEAD + "".join(_row(name) for name in own)


def _row(name: str) -> str:
    source = SOURCES[name]
    flags = sorted({"inputs": "input", "stops": "stop"}.get(option, option) for option in source.options)
    options = " ".join(f"`--{flag.replace('_', '-')}`" for flag in flags) or "none"
    return f"| `{source.usage}` | {source.meaning} | `{name}` | `boxcam[{source.extra}]` | {options} |\n"


if __name__ == "__main__":
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else PATH
    path.write_text(markdown(), encoding="utf-8")
