"""What methods have in common that run the model again."""

from __future__ import annotations


class RunsAgain:
    """A method that averages no gradient over a map, and multiplies no other method's map."""

    @property
    def averages(self) -> bool:
        """Whether it averages the gradient over the whole feature map."""
        return False

    @property
    def times(self) -> None:
        """The method whose map its own is multiplied with."""
        return None
