"""The example at the end of each public docstring runs, and gives what it says."""

from __future__ import annotations

import doctest
import importlib
import inspect
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import boxcam
from boxcam.commands.demo import BUNDLE, DATA
from boxcam.explain.evidence import Evidence


def public() -> Iterator[tuple[str, Any]]:
    """Everything public that has a docstring of ours: names of the package, and what is public in its classes."""
    for name in boxcam.__all__:
        thing = getattr(boxcam, name)
        if not (inspect.isclass(thing) or inspect.isfunction(thing)):
            continue  # a name for several types, which has no docstring
        yield name, thing
        classes = [thing] if inspect.isclass(thing) else []
        classes += [Evidence] if thing is boxcam.Explanation else []  # where half of what it has is from
        for member, value in (item for one in classes for item in vars(one).items()):
            own = value.fget if isinstance(value, property) else getattr(value, "func", value)
            if not member.startswith("_") and inspect.isfunction(own):
                yield f"{name}.{member}", own


PUBLIC = dict(public())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, signs: Path) -> Path:
    """What the examples find where they run: a bundle, a picture, a classifier to export."""
    import torch
    from torch import nn

    where = tmp_path_factory.mktemp("examples")
    shutil.copytree(DATA / "signs", where / BUNDLE)
    shutil.copy(signs / "images" / "street.jpg", where)
    torch.manual_seed(0)
    network = nn.Sequential(
        *(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4), nn.Softmax(1)),
    )
    torch.onnx.export(network.eval(), (torch.rand(1, 3, 64, 64),), str(where / "classifier.onnx"), dynamo=False)
    return where


@pytest.mark.parametrize("name", PUBLIC)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_example_of_a_docstring(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    thing = PUBLIC[name]
    source = importlib.import_module(thing.__module__)
    assert source.__name__.startswith("boxcam.")
    text = inspect.getdoc(thing)
    assert text is not None
    example = doctest.DocTestParser().get_doctest(text, {}, name, None, None)
    assert example.examples, "no example"
    end = example.examples[-1]
    rest = text.splitlines()[end.lineno + len(end.source.splitlines()) + len(end.want.splitlines()) :]
    assert not any(line.strip() for line in rest), "the example is the end"
    said: list[str] = []
    results = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example, out=said.append)
    assert results.failed == 0, "".join(said)


def test_the_examples_are_of_everything_public() -> None:
    assert {"explain", "export", "load", "methods", "Model.explain", "Explanation.save"} <= set(PUBLIC)
    assert {"Model.names", "ExplainedBox.map", "ExplainedBox.overlay", "Explanation.to_frame"} <= set(PUBLIC)
