"""Options of one value, given more than once."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from boxcam.cli import COMMANDS, main


def _options(several: bool) -> list[tuple[str, str]]:
    return [
        (str(command.name), option.opts[-1])
        for command in COMMANDS
        for option in command.params
        if isinstance(option, click.Option)
        and not option.is_flag
        and option.multiple is several
        and option.name != "output"
    ]


@pytest.mark.parametrize(("command", "flag"), _options(several=False))
def test_one_value_is_taken_once(command: str, flag: str) -> None:
    result = CliRunner().invoke(main, [command, "a", "b", flag, "1", flag, "2"])
    assert result.exit_code == 2
    assert f"Error: {flag} is given twice and takes one value. Give it once." in result.output


def test_two_spellings_are_one_option() -> None:
    result = CliRunner().invoke(main, ["export", "a", "b", "--nms=0.5", "--nms-threshold", "0.6"])
    assert result.exit_code == 2
    assert "is given twice" in result.output


def test_the_last_output_counts() -> None:
    """A line that `boxcam inspect` prints names one, and who runs it may add another."""
    result = CliRunner().invoke(main, ["explain", "a", "b", "-o", "one", "-o", "two"])
    assert "twice" not in result.output


@pytest.mark.parametrize(("command", "flag"), _options(several=True))
def test_several_values_are_several(command: str, flag: str) -> None:
    result = CliRunner().invoke(main, [command, "a", "b", flag, "1", flag, "2"])
    assert "twice" not in result.output
