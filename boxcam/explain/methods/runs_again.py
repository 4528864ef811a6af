"""What methods have in common that run the model again."""

from __future__ import annotations


class RunsAgain:
    """A method that averages no gradient over a map, and multiplies no other method's map."""

    @property
    def averages(self) -> bool:
        """Whether it averages the gradient over the whole feature map."""
        return False

    @property
    def takes(self) -> tuple[str, ...]:
        """Options that are for it and not for every method."""
        return ()

    @property
    def layers(self) -> str:
        """The layers that it is for, for people."""
        return "maps"

    @property
    def reads(self) -> str:
        """What it reads of the gradient, for people."""
        return "none"

    @property
    def times(self) -> None:
        """The method whose map its own is multiplied with."""
        return None
