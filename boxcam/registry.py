"""A registry: name → thing. What is registered under a name stays; a second one is an error."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from boxcam.errors import BoxcamWarning, PluginError, UnknownNameError
from boxcam.plugins import Plugin, find

T = TypeVar("T")


class Registry(Generic[T]):
    """Things of one kind by name, in the order they were registered; those of plug-ins are the last.

    Args:
        kind: what the things are, in the singular, for messages: ``"method"``.
        group: of the entry points by which other packages add to it, see `boxcam.plugins`; None if they cannot.
    """

    def __init__(self, kind: str, group: str | None = None) -> None:
        self.kind, self.group = kind, group
        self._things: dict[str, T] = {}
        self._makers: dict[str, str] = {}
        self._plugins: dict[str, Plugin] | None = None

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator: put a thing under ``name``.

        Raises:
            ValueError: the name is taken.
        """

        def put(thing: T) -> T:
            if name in self._things:
                raise ValueError(f"{self.kind} {name!r} is registered already, as {self._things[name]!r}")
            self._things[name] = thing
            self._makers[name] = _module_that_is_run()
            return thing

        return put

    def names(self) -> tuple[str, ...]:
        """All names, in the order they were registered; those of plug-ins, which need not be loaded, are the last."""
        return (*self._things, *(name for name in self.plugins() if name not in self._things))

    def plugins(self) -> dict[str, Plugin]:
        """What other packages add, by name, loaded or not; looked for once."""
        if self.group is None:
            return {}
        if self._plugins is None:
            self._plugins = find(self.kind, self.group, self._makers)
        return self._plugins

    def loaded(self) -> dict[str, T]:
        """All things by name, for what asks each of them.

        Warns:
            BoxcamWarning: a plug-in cannot be loaded; it is left out.
        """
        found = {}
        for name in self.names():
            try:
                found[name] = self[name]
            except PluginError as error:
                warnings.warn(str(error), BoxcamWarning, stacklevel=2)
        return found

    def __getitem__(self, name: str) -> T:
        """The thing of that name.

        Raises:
            UnknownNameError: there is none.
            PluginError: it is a plug-in's, which cannot be loaded.
        """
        if not isinstance(name, str):
            raise UnknownNameError.of(self.kind, name, self.names())
        if name not in self._things and name in self.plugins():
            plugin = self.plugins()[name]
            plugin.load()
            if name not in self._things:
                raise plugin.failure(f"does not register a {self.kind} of that name when it is imported")
        if name not in self._things:
            raise UnknownNameError.of(self.kind, name, self.names())
        return self._things[name]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (name in self._things or name in self.plugins())

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self.names())


def _module_that_is_run() -> str:
    """The module whose own lines are being run, as those of a plug-in that is imported: the innermost one."""
    frame = sys._getframe(1)
    while frame.f_code.co_name != "<module>" and frame.f_back is not None:
        frame = frame.f_back
    return str(frame.f_globals.get("__name__", ""))
