"""Options and commands that do not exist: what was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import click

from boxcam.errors import did_you_mean

_ELSEWHERE = {
    "--threshold": ("--score", "--score-threshold"),
    "--conf": ("--score", "--score-threshold"),
    "--confidence": ("--score", "--score-threshold"),
    "--iou": ("--nms-threshold",),
    "--out": ("--output",),
    "--output-dir": ("--output",),
    "--classes": ("--class",),
    "--names": ("--class-names",),
    "--image": ("--sample",),
    "--size": ("--shape",),
    "--imgsz": ("--shape",),
    "--layers": ("--layer",),
    "--gpu": ("--device",),
    "--force": ("--overwrite",),
    "--kind": ("--source",),
}
"""What options are called in other programs, and ours; a command has one of them at most."""


def no_such_option(name: str, command: click.Command, ctx: click.Context) -> click.UsageError:
    """The error for an option that a command does not have, with those that are close to it.

    Args:
        name: as it was typed: ``--treshold``.
        command: which does not have it.
        ctx: of the command.
    """
    flags = [flag for option in command.get_params(ctx) for flag in option.opts if flag.startswith("--")]
    known = {theirs: flag for theirs, ours in _ELSEWHERE.items() for flag in ours if flag in flags}
    known.update({flag: flag for flag in flags})
    close = difflib.get_close_matches(name.lower(), known, n=2, cutoff=0.65)
    meant = dict.fromkeys(known[word] for word in close if _likeness(name, word) > _likeness(name, close[0]) - 0.15)
    hint = f" Did you mean {' or '.join(meant)}?" if meant else f" '{ctx.command_path} --help' lists what there is."
    return click.UsageError(f"there is no option {name}.{hint}", ctx)


def _likeness(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one.lower(), other).ratio()


def no_such_command(name: str, commands: Iterable[str], ctx: click.Context) -> click.UsageError:
    """The same for a command."""
    known = list(commands)
    return click.UsageError(
        f"there is no command {name!r}.{did_you_mean(name, known)} There are: {', '.join(known)}.", ctx
    )
