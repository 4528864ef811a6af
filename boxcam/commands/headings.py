"""Help of a command whose options stand under headings."""

from __future__ import annotations

from typing import Any

import click

COMMON, OTHER = "Common options", "Other options"


class Option(click.Option):
    """An option of the command line.

    Attributes:
        heading: what it stands under in its command's help.
    """

    def __init__(self, *given: Any, heading: str = OTHER, **settings: Any) -> None:
        """Make it; the arguments are those of `click.Option`."""
        super().__init__(*given, **settings)
        self.heading = heading


class Command(click.Command):
    """A command whose help has a list of options for each heading: in the order in which they were put on it."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the lists; options without a heading, as ``--help``, are the last."""
        lists: dict[str, list[tuple[str, str]]] = {}
        for option in self.get_params(ctx):
            record = option.get_help_record(ctx) if isinstance(option, click.Option) else None
            if record is not None:
                lists.setdefault(getattr(option, "heading", OTHER), []).append(record)
        for heading in sorted(lists, key=lambda heading: heading == OTHER):
            with formatter.section(heading):
                formatter.write_dl(lists[heading])
