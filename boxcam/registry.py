"""A registry: name → thing. What is registered under a name stays; a second one is an error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from boxcam.errors import UnknownNameError

T = TypeVar("T")


class Registry(Generic[T]):
    """Things of one kind by name, in the order they were registered.

    Args:
        kind: what the things are, in the singular, for messages: ``"method"``.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._things: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator: put a thing under ``name``.

        Raises:
            ValueError: the name is taken.
        """

        def put(thing: T) -> T:
            if name in self._things:
                raise ValueError(f"{self.kind} {name!r} is registered already, as {self._things[name]!r}")
            self._things[name] = thing
            return thing

        return put

    def names(self) -> tuple[str, ...]:
        """All names, in the order they were registered."""
        return tuple(self._things)

    def __getitem__(self, name: str) -> T:
        """The thing of that name.

        Raises:
            UnknownNameError: there is none.
        """
        if name not in self._things:
            raise UnknownNameError.of(self.kind, name, self._things)
        return self._things[name]

    def __contains__(self, name: object) -> bool:
        return name in self._things

    def __iter__(self) -> Iterator[str]:
        return iter(self._things)

    def __len__(self) -> int:
        return len(self._things)
