"""Plug-ins: what other installed packages add to boxcam, by entry points.

A package adds to a registry by an entry point in the registry's group, ``boxcam.methods``, say: its name is the name in
the registry, its value the module that registers it there when it is imported, as boxcam's own modules do. Entry points
are looked for when a name is asked for that boxcam itself does not have, or when all names are listed, and a module is
imported when its name is asked for: without plug-ins, nothing is searched or imported in vain.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from boxcam.errors import BoxcamWarning, PluginError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


@dataclass(frozen=True)
class Plugin:
    """One entry point.

    Attributes:
        kind: what it is, in the singular: ``method``.
        package: name and version of the package that it comes from.
        point: the entry point.
    """

    kind: str
    package: str
    point: EntryPoint

    def load(self) -> None:
        """Import its module.

        Raises:
            PluginError: that fails, whatever the reason.
        """
        try:
            self.point.load()
        except (Exception, SystemExit) as error:
            said = " ".join(str(error).split())[:300].rstrip(".")
            raise self.failure(f"cannot be loaded: {type(error).__name__}: {said}") from error

    def failure(self, what: str) -> PluginError:
        """The error that says what is wrong with it."""
        return PluginError(
            f"the {self.kind} {self.point.name!r} of the installed package {self.package} ({self.point.value}) {what}."
            " Update that package, or uninstall it."
        )


def find(kind: str, group: str, own: Collection[str]) -> dict[str, Plugin]:
    """The plug-ins of a group by name.

    Args:
        kind: what they are, in the singular.
        group: of their entry points.
        own: names that boxcam itself has.

    Warns:
        BoxcamWarning: the name of one is taken; it is left out.
    """
    from importlib.metadata import entry_points  # takes a tenth of a second, which explaining need not

    found: dict[str, Plugin] = {}
    for point in entry_points(group=group):
        package = "" if point.dist is None else f"{point.dist.name} {point.dist.version}"
        if point.name in own or point.name in found:
            whose = "boxcam itself" if point.name in own else found[point.name].package
            message = (
                f"the {kind} {point.name!r} of the installed package {package} is left out: {whose} has that name."
            )
            warnings.warn(message, BoxcamWarning, stacklevel=2)
            continue
        found[point.name] = Plugin(kind, package, point)
    return found
