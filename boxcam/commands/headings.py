"""Help of a command whose options stand under headings."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import click

from boxcam.commands.misspelling import no_such_option

COMMON, OTHER = "Common options", "Other options"


class Option(click.Option):
    """An option of the command line.

    Attributes:
        heading: what it stands under in its command's help.
        fill: gives what stands for ``{}`` in its help, when that is shown: names that need not be known before.
    """

    def __init__(
        self, *given: Any, heading: str = OTHER, fill: Callable[[], str] | None = None, **settings: Any
    ) -> None:
        """Make it; the other arguments are those of `click.Option`."""
        self.heading, self.fill = heading, fill
        super().__init__(*given, **settings)

    @property
    def help(self) -> str | None:
        """What it is for."""
        return self._help if self._help is None or self.fill is None else self._help.format(self.fill())

    @help.setter
    def help(self, text: str | None) -> None:
        self._help = text


class Command(click.Command):
    """A command whose help has a list of options for each heading: in the order in which they were put on it.

    Attributes:
        fill: gives what stands for each word in capitals and braces, ``{MODELS}``, in its help, when that is shown.
    """

    def __init__(self, *given: Any, fill: Mapping[str, Callable[[], str]] | None = None, **settings: Any) -> None:
        """Make it; the other arguments are those of `click.Command`."""
        self.fill = dict(fill or {})
        super().__init__(*given, **settings)

    @property
    def help(self) -> str | None:
        """What it does."""
        if self._help is None:
            return None
        text = inspect.cleandoc(self._help)
        for word, of in self.fill.items():
            text = text.replace(f"{{{word}}}", of())
        return text

    @help.setter
    def help(self, text: str | None) -> None:
        self._help = text

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read what was typed; an option that is not there is answered by those that are close to it.

        Raises:
            click.UsageError: an option of one value is given twice: the last one would count, and the others not be
                missed.
        """
        try:
            typed = self.make_parser(ctx).parse_args(list(args))[2]
            for option in typed:
                if isinstance(option, click.Option) and _takes_one(option) and typed.count(option) > 1:
                    raise click.UsageError(f"{option.opts[-1]} is given twice and takes one value. Give it once.", ctx)
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            raise no_such_option(error.option_name, self, ctx) from error

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


def _takes_one(option: click.Option) -> bool:
    """Whether a second value is a mistake; of ``--output`` the last counts, as lines that boxcam prints name one."""
    return not (option.multiple or option.is_flag or option.count or option.name == "output")
