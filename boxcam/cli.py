"""The command line: its commands, and what becomes of errors and warnings: one line each."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import click

from boxcam._version import __version__
from boxcam.commands import PLUGINS
from boxcam.commands.compare import compare
from boxcam.commands.console import ARGUMENTS, error_line, forget_output, message_line, say
from boxcam.commands.demo import demo
from boxcam.commands.evaluate import evaluate
from boxcam.commands.explain import explain
from boxcam.commands.export import export
from boxcam.commands.inspect import inspect
from boxcam.commands.methods import methods
from boxcam.commands.misspelling import no_such_command, no_such_option
from boxcam.commands.signals import Terminated, end, ended_by_signals, leave, signal_behind
from boxcam.errors import BoxcamError, BoxcamWarning
from boxcam.runtime.failures import reason

COMMANDS = (compare, demo, evaluate, export, explain, inspect, methods)
_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class _Commands(click.Group):
    """Turns boxcam's errors, and ONNX Runtime's, into one line and exit code 1, and its warnings into one line each."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        own = super().get_command(ctx, cmd_name)
        return PLUGINS[cmd_name] if own is None and cmd_name in PLUGINS else own

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*super().list_commands(ctx), *PLUGINS.loaded()]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            raise no_such_command(args[0], self.list_commands(ctx), ctx)
        return super().resolve_command(ctx, args)

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        with _warnings_as_lines():  # of plug-ins, which the help asks for
            return super().make_context(info_name, args, parent, **extra)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[ARGUMENTS] = tuple(args)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            raise no_such_option(error.option_name, self, ctx) from error

    def main(self, *given: Any, **settings: Any) -> Any:
        try:
            return super().main(*given, **settings)
        except BrokenPipeError:
            raise
        except OSError as error:  # of the system: no file of boxcam's own, for which there are errors that say more
            where = f"{error.filename}: " if error.filename else ""
            say(f"boxcam: {where}{error.strerror or error}. Check the path, its permissions and the disk.", err=True)
            forget_output()
            end(1)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with _warnings_as_lines(), ended_by_signals():
                return super().invoke(ctx)
        except (KeyboardInterrupt, Terminated) as error:
            leave(error)
        except Exception as error:
            if (event := signal_behind(error)) is not None:
                leave(event)
            if isinstance(error, BoxcamError):
                say(error_line(error), err=True)
                end(1)
            if not type(error).__module__.startswith("onnxruntime."):
                raise
            say(f"boxcam: onnxruntime failed: {reason(error)}. Please report it with the model.", err=True)
            ctx.exit(1)


@click.group(cls=_Commands, context_settings=_CONTEXT)
@click.version_option(__version__, prog_name="boxcam")
def main() -> None:
    """Explain the boxes of a deployed detector, each by a heatmap of its own.

    `export` makes a bundle of ONNX files from a trained model, once; `explain` draws the heatmaps with ONNX Runtime,
    without the model's training code. `demo` shows it with a model that comes with boxcam.
    """


for command in COMMANDS:
    main.add_command(command)


@contextlib.contextmanager
def _warnings_as_lines() -> Iterator[None]:
    """Each of boxcam's warnings once, as a line; those of other packages as Python shows them."""
    with warnings.catch_warnings():
        others = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if issubclass(category, BoxcamWarning):
                say(f"boxcam: warning: {message_line(str(message))}", err=True)
            else:
                others(message, category, *where, **more)

        warnings.showwarning = show
        warnings.simplefilter("default", BoxcamWarning)
        yield


if __name__ == "__main__":
    main()
