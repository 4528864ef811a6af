"""Parameter names in a message of the library become the flags of the command line.

The library says ``sample=``, ``engine="onnx"``, ``shape=(640, 640)`` or ``preprocess=["yolo", "size=640x640"]``, as one
writes it in Python. Here these are read as ``--sample``, ``--engine onnx``, ``--shape 640x640`` and ``--preprocess yolo
--preprocess size=640x640``. Which names there are is asked of the commands themselves.
"""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Collection, Iterator, Mapping

import click

_STRING = r"""(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""
_LIST = rf"""\[(?:{_STRING}|[^\]"'])*\]|\((?:{_STRING}|[^)"'])*\)"""
_WORD = r"[\w/](?:[\w./:*+-]*[\w/*])?"
_PARAMETER = re.compile(rf"(?<![^\s(:])(?P<name>[a-z_]+)=(?P<value>{_STRING}|{_LIST}|…|{_WORD})?(?!=)")
"""A name at the beginning of a word, and what follows its ``=``; what is inside of a quoted value is left as it is."""

SETTINGS = frozenset({"scale"})
"""Names that flags share with settings of preprocessing, ``scale=0-255``: messages speak of those. The values of these
flags are checked where they are read."""


def with_flags(message: str, flags: Mapping[str, str], given: Collection[str] = ()) -> str:
    """A message with flags in place of the names of parameters.

    Args:
        message: what the library says.
        flags: the flag of each parameter, see `flags_of`. Other names stay as they are.
        given: what the user typed: a word of the message that holds any of it, as the path ``class=car/1.jpg`` or the
            setting ``layout=NCHW``, is the user's own and stays as it is.
    """
    own = [one for one in given if _PARAMETER.match(one)]

    def flag(found: re.Match[str]) -> str:
        end = re.search(r"\s|$", message[found.start() :])
        word = message[found.start() : found.start() + (end.start() if end else 0)]
        if found["name"] not in flags or found["name"] in SETTINGS or any(word.startswith(one) for one in own):
            return found[0]
        return " ".join(_words(flags[found["name"]], found["value"]))

    return _PARAMETER.sub(flag, message)


def flags_of(command: click.Command) -> dict[str, str]:
    """The flag of each parameter of a command, or of all commands of a group.

    An option is found by the name that its function takes, and by its own: ``layers`` and ``layer`` are both
    ``--layer``, ``classes`` and ``class`` both ``--class``.
    """
    flags: dict[str, str] = {}
    for option in _options(command):
        flag = next((name for name in option.opts if name.startswith("--")), option.opts[0])
        for name in (option.name, flag.removeprefix("--").replace("-", "_")):
            if name:
                flags[name] = flag
    return flags


def _options(command: click.Command) -> Iterator[click.Option]:
    if isinstance(command, click.Group):
        for below in command.commands.values():
            yield from _options(below)
    yield from (one for one in command.params if isinstance(one, click.Option))


def _words(flag: str, written: str | None) -> Iterator[str]:
    """A flag and its value, as a shell takes it; once for each of several values."""
    if written is None or written == "…":
        yield flag
        return
    value = _value(written)
    sides = isinstance(value, tuple) and all(isinstance(side, int) for side in value)
    for one in value if isinstance(value, list | tuple) and not sides else [value]:
        yield flag
        if one is not True:  # a switch has no value
            between = "x" if isinstance(one, tuple) and len(one) == 2 else ","  # a size, or the corners of a box
            yield shlex.quote(between.join(map(str, one)) if isinstance(one, tuple) else str(one))


def _value(written: str) -> object:
    """What a literal of Python stands for; a word that is none stands for itself."""
    try:
        value: object = ast.literal_eval(written)
    except (ValueError, SyntaxError):
        return written
    return value
