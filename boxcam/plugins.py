"""Plug-ins: what other installed packages add to boxcam, by entry points.

A package adds to a registry by an entry point in the registry's group, ``boxcam.methods``, say: its name is the name in
the registry, its value the module that registers it there when it is imported, as boxcam's own modules do. Entry points
are looked for when a name is asked for that boxcam itself does not have, or when all names are listed, and a module is
imported when its name is asked for: without plug-ins, nothing is searched or imported in vain.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
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


def find(kind: str, group: str, makers: Mapping[str, str]) -> dict[str, Plugin]:
    """The plug-ins of a group by name.

    Args:
        kind: what they are, in the singular.
        group: of their entry points.
        makers: for each name that is registered already, the module that registered it: one of boxcam itself, or of a
            plug-in that was imported before anyone asked for names.

    Warns:
        BoxcamWarning: the name of one is taken; it is left out.
    """
    from importlib.metadata import entry_points  # takes a tenth of a second, which explaining need not

    found: dict[str, Plugin] = {}
    for point in entry_points(group=group):
        package = "" if point.dist is None else f"{point.dist.name} {point.dist.version}"
        maker = makers.get(point.name, "")
        if point.name in found or (maker and not _is_of_one_package(maker, point.module)):
            whose = found[point.name].package if point.name in found else _owner(maker)
            message = (
                f"the {kind} {point.name!r} of the installed package {package} is left out: {whose} has that name."
                " Update that package, or uninstall it."
            )
            warnings.warn(message, BoxcamWarning, stacklevel=2)
            continue
        found[point.name] = Plugin(kind, package, point)
    return found


def _is_of_one_package(module: str, other: str) -> bool:
    return module.partition(".")[0] == other.partition(".")[0]


def _owner(module: str) -> str:
    """Who has a name, for people."""
    return "boxcam itself" if module.partition(".")[0] == "boxcam" else f"the module {module}"
