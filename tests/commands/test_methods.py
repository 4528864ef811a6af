"""`boxcam methods`."""

from __future__ import annotations

import json
import re

import boxcam
from tests.commands.written import Cli


def test_methods_are_listed_with_what_each_costs_and_shows(cli: Cli) -> None:
    done = cli("methods")
    assert (done.exit_code, done.stderr) == (0, "")
    heading, *lines = done.stdout.splitlines()
    assert re.split(r" {2,}", heading) == ["method", "layers", "passes", "gradient", "what it shows"]
    rows = {cells[0]: cells[1:] for cells in (re.split(r" {2,}", line) for line in lines)}
    assert tuple(rows) == boxcam.methods()
    assert rows["gradcam"][:3] == ["maps", "1", "means"]
    assert rows["eigencam"][2] == "none"
    assert rows["guided-gradcam"][:3] == ["maps, image", "1", "guided"]
    assert all(len(row) == 4 for row in rows.values())
    assert max(map(len, done.stdout.splitlines())) <= 120
    said = json.loads(cli("methods", "--json").stdout)
    assert [tuple(one.values())[:4] for one in said] == [(name, *row[:3]) for name, row in rows.items()]
    assert said[1]["shows"].startswith("which cells made the score")
