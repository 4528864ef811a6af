"""Layouts with objectness whose columns stand before their rows."""

from __future__ import annotations

from dataclasses import replace

from tests.conventions.files import FLOAT, Arrays, Layout, Levels, Truth
from tests.conventions.layouts import LAYOUTS, only


def across(layout: Layout) -> Layout:
    """The same with its columns before its rows."""

    def build(net: Levels) -> dict[str, int]:
        (name,) = layout.build(net)
        net.nodes[-1].output[0] = net.nodes[-1].name = "of rows"
        net.node("Transpose", ["of rows"], perm=[0, 2, 1], name=name)
        return {name: FLOAT}

    def truth(given: Arrays, classes: int) -> Truth:
        return layout.truth({"rows": only(given).T[None]}, classes)

    return replace(layout, entry=f"{layout.entry}-transposed", build=build, truth=truth)


ACROSS = {name: across(LAYOUTS[name]) for name in ("yolox", "yolox-undecoded", "yolov5", "yolov6")}
