"""The house: which room may import which. Rooms stand on floors, imports go down, and there is no circle.

Run with ``-s`` to see the floors drawn, with the number of arrows.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "boxcam"
Arrow = tuple[str, str]

# From the ground up; rooms of one floor do not know each other. A room is a file or a folder of boxcam/, and of
# boxcam/export/.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("_version", "errors", "plurals"),
    ("arguments",),
    ("budget", "filesystem", "leftovers", "plugins", "types"),
    ("registry",),
    ("targets",),
    ("bundle",),
    ("runtime",),
    ("explain", "inspection", "export.graphs", "export.misuse"),
    ("model",),
    ("export.source", "export.autodiff", "export.heads"),
    ("export.passes", "export.preprocessing"),
    ("export.trace",),
    ("export.layers", "export.torchscript"),
    ("export.sources", "export.verify"),
    ("export.gradients", "export.inspect", "export.layer_heads"),
    ("export.steps",),
    ("export.pipeline",),
    ("export",),
    ("_api",),
    ("__init__",),  # the public names, which the command line uses as everybody does
    ("commands",),
    ("cli",),
    ("__main__",),
)


def files() -> dict[str, Path]:
    """Every module of boxcam by its name without ``boxcam.``; a package's own file is ``name.__init__``."""
    return {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in PACKAGE.rglob("*.py")}


def imported(path: Path, modules: dict[str, Path]) -> Iterator[str]:
    """The modules that a file imports, those inside of functions and of type checking included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            if name != "boxcam" and not name.startswith("boxcam."):
                continue
            own = name.removeprefix("boxcam").removeprefix(".")
            while own and own not in modules and f"{own}.__init__" not in modules:
                own = own.rpartition(".")[0]
            yield own if own in modules else f"{own}.__init__".removeprefix(".")


def room(module: str) -> str:
    """The room that a module lies in."""
    parts = module.removesuffix(".__init__").split(".")
    return ".".join(parts[: 2 if parts[0] == "export" else 1])


def arrows() -> tuple[set[Arrow], set[Arrow]]:
    """Between files, and between rooms: (who imports, whom)."""
    modules = files()
    between = {(name, used) for name, path in modules.items() for used in imported(path, modules) if used != name}
    return between, {(room(a), room(b)) for a, b in between if room(a) != room(b)}


def test_every_room_stands_on_a_floor() -> None:
    assert {room(name) for name in files()} == {name for floor in FLOORS for name in floor}


def test_nobody_imports_upwards() -> None:
    floor = {name: number for number, names in enumerate(FLOORS) for name in names}
    between, rooms = arrows()
    up = [f"{a} -> {b}" for a, b in sorted(between) if room(a) != room(b) and floor[room(a)] <= floor[room(b)]]
    for number, names in reversed(list(enumerate(FLOORS))):
        print(f"floor {number:2}  {'  '.join(names)}")  # noqa: T201
    print(f"{len(floor)} rooms, {len(rooms)} arrows between rooms, {len(between)} between files")  # noqa: T201
    assert not up, "imports go down: " + ", ".join(up)


def test_no_file_imports_itself_by_a_circle() -> None:
    between, _ = arrows()
    graph: dict[str, set[str]] = {}
    for importer, used in between:
        graph.setdefault(importer, set()).add(used)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise AssertionError(f"a circle of imports: {' -> '.join(error.args[1])}") from None


def test_what_tests_share_does_not_lie_in_a_test() -> None:
    """A module that is named like a test is run as one; what others import from it lies in a module of its own."""
    for path in Path(__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("tests"):
                assert not node.module.rpartition(".")[2].startswith("test_"), f"{path}:{node.lineno}"
