"""A registry of names."""

from __future__ import annotations

import pytest

from boxcam.errors import UnknownNameError
from boxcam.registry import Registry


def test_the_registry() -> None:
    registry: Registry[int] = Registry("number")
    assert registry.register("two")(2) == 2
    registry.register("one")(1)
    assert registry.names() == tuple(registry) == ("two", "one")
    assert (registry["one"], len(registry), "one" in registry, "three" in registry) == (1, 2, True, False)
    with pytest.raises(ValueError, match="number 'one' is registered already, as 1"):
        registry.register("one")(3)
    assert registry["one"] == 1
    with pytest.raises(UnknownNameError, match=r"^there is no number 'tow'. Did you mean 'two'\? There are: two"):
        registry["tow"]
    with pytest.raises(UnknownNameError, match=r"^there is no number 'x'. There are: two, one.$"):
        registry["x"]
    with pytest.raises(UnknownNameError, match=r"There are: none.$"):
        Registry[int]("number")["x"]
