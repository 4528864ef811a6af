"""Pages of documentation as what can be run: fenced blocks, with what comments above them tell the tests.

A comment directly above a block is one of

- ``<!-- not run: REASON -->``: the block is not run; it is still read, see `tests.docs.test_snippets`;
- ``<!-- file: NAME -->``: the block is that file's text, and lies in the folder from then on;
- ``<!-- output -->``: the block is what the one before it printed;
- ``<!-- leaves: NAME … -->``: after the block has run, these files are there, and are not empty;
- ``<!-- folder: new -->``: the block starts in a new folder, as another reader would.

In a ``console`` block, lines that begin with ``$`` are commands and the others what they print. In what is printed,
``…`` stands for anything within a line, and on a line of its own for any lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "docs").rglob("*.md"))))
RUN = ("console", "bash", "python")
SHOWN = ("text", "yaml", "json", "toml", "ini")
_COMMENT = re.compile(r"\s*<!-- (not run|file|output|leaves|folder)(?:: (.*?))? -->\s*")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: its page, as a path from the repository's root.
        line: of its fence, from 1.
        language: ``console``, ``python`` …
        text: what it holds, without the indentation of its fence.
        notes: what the comments above it say: ``{"leaves": "out/street.png"}``.
    """

    page: str
    line: int
    language: str
    text: str
    notes: dict[str, str]

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True)
class Command:
    """A command of a ``console`` block, and what the page shows that it prints; None if it shows nothing."""

    line: str
    output: str | None


def text_of(page: str) -> str:
    """A page's Markdown, with the files that it includes."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.sub(r'^--8<-- "([^"]+)"$', lambda match: text_of(match[1]), text, flags=re.MULTILINE)


def blocks_of(page: str) -> list[Block]:
    """A page's fenced blocks, in order.

    Raises:
        ValueError: a block does not end, or a comment for the tests does not stand directly above one.
    """
    found: list[Block] = []
    notes: dict[str, str] = {}
    lines = enumerate(text_of(page).splitlines(), 1)
    for number, line in lines:
        if comment := _COMMENT.fullmatch(line):
            notes[comment[1]] = comment[2] or ""
        elif fence := re.fullmatch(r"(\s*)(```+)\s*(\S*).*", line):
            body = [one.removeprefix(fence[1]) for one in _until(fence[2], lines, f"{page}:{number}")]
            found.append(Block(page, number, fence[3], "\n".join(body) + "\n", notes))
            notes = {}
        elif notes:
            raise ValueError(f"{page}:{number}: the comment {notes} does not stand directly above a block")
    return found


def commands_of(text: str) -> list[Command]:
    """The commands of a ``console`` block.

    Raises:
        ValueError: the block does not begin with a command.
    """
    commands: list[list[str]] = []
    outputs: list[list[str]] = []
    continued = False
    for line in text.splitlines():
        if continued:
            commands[-1].append(line)
        elif line.startswith("$ "):
            commands.append([line[2:]])
            outputs.append([])
        elif not commands:
            raise ValueError(f"a console block begins with a command, after '$ ': {line!r}")
        else:
            outputs[-1].append(line)
            continue
        continued = line.endswith("\\")
    return [
        Command("\n".join(command), "\n".join(output).strip("\n") or None)
        for command, output in zip(commands, outputs, strict=True)
    ]


def matches(shown: str, printed: str) -> bool:
    """Whether a command printed what a page shows; ``…`` in what it shows stands for anything."""
    pattern = []
    for line in shown.strip("\n").splitlines():
        if line.strip() == "…":
            pattern.append(r"(?:.*\n)*?")
        else:
            pattern.append(r"[^\n]*?".join(map(re.escape, line.rstrip().split("…"))) + r"[ \t]*\n")
    return re.fullmatch("".join(pattern), printed.strip("\n") + "\n") is not None


def _until(fence: str, lines: Iterator[tuple[int, str]], where: str) -> Iterator[str]:
    for _, line in lines:
        if line.strip() == fence:
            return
        yield line
    raise ValueError(f"{where}: the block does not end")
