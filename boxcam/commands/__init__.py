"""The commands of the command line, a file each; `boxcam.cli` lists them."""

from __future__ import annotations

import click

from boxcam.registry import Registry

PLUGINS: Registry[click.Command] = Registry("command", "boxcam.commands")
"""Commands of other packages, looked for when a command is asked for that boxcam does not have, or in the help."""
