"""The rest of a model after a layer: what is cut out, what takes several maps at once, and what a number depends on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from boxcam.errors import ExportError
from boxcam.export.autodiff import gradient
from boxcam.export.graphs.fold import fold_model
from boxcam.export.graphs.head import cut_after
from boxcam.export.graphs.query import all_values
from boxcam.export.graphs.run import observe_values, open_session, record_ranks, serialized
from boxcam.export.graphs.weights import WeightsFile
from boxcam.export.layer_heads import LayerHead, build, named
from boxcam.export.verify.check import Run
from boxcam.runtime.engines import OnnxEngine
from tests.export.detectors import conv
from tests.export.export_graphs import Net, branch
from tests.export.heads import weights

SIDE, CHANNELS = 12, 4
Build = Callable[[Net, str, str], str]


class Case:
    """An image, two maps of it, ``beside`` and ``layer``, and a tensor ``end`` that is made of these."""

    def __init__(self, head: Build) -> None:
        net = Net()
        image = net.input("image", (1, 3, 2 * SIDE, 2 * SIDE))
        early = net.Relu(conv(net, image, "early", (CHANNELS, 3, 3, 3), 2))
        beside = net.node("Relu", [conv(net, early, "beside", (CHANNELS, CHANNELS, 3, 3))], name="beside")[0]
        layer = net.node("Relu", [conv(net, early, "layer", (CHANNELS, CHANNELS, 3, 3))], name="layer")[0]
        net.node("Identity", [head(net, layer, beside)], name="end")
        self.model: ir.Model = fold_model(net.model([beside, layer, "end"]))
        feeds = {"image": np.random.default_rng(0).standard_normal((1, 3, 2 * SIDE, 2 * SIDE)).astype(np.float32)}
        record_ranks(self.model, feeds)
        (self.head,) = build(self.model, ["layer"], {"logit": ["end"]}) or (None,)
        names = [] if self.head is None else [*self.head.rest.context]
        values = {str(value.name): value for value in all_values(self.model.graph)}
        wanted = list(dict.fromkeys(["layer", "end", *names]))
        found = observe_values(self.model, [values[name] for name in wanted], feeds)
        self.run = Run(dict(zip(wanted, found, strict=True)), feeds)

    @property
    def tried(self) -> LayerHead:
        assert self.head is not None
        found = self.head.tried([self.run], rows=False)
        assert found is not None
        return found

    @property
    def scope(self) -> str:
        made = gradient.build(self.model, ["end"], ["layer"])
        if made.form != "windows":  # as an export does
            return "map"
        names = [name for name in made.inputs if name not in self.run.found]
        values = {str(value.name): value for value in all_values(self.model.graph)}
        more = observe_values(self.model, [values[name] for name in names], self.run.feeds)
        run = Run({**self.run.found, **dict(zip(names, more, strict=True))}, self.run.feeds)
        origins = np.zeros((0, 1 + run.found["end"].ndim), np.int64)
        return self.tried.scope(run, OnnxEngine(serialized(made.model)), ["layer"], origins)


def convolutions(net: Net, layer: str, beside: str) -> str:
    return conv(net, net.Relu(conv(net, layer, "a", (6, CHANNELS, 3, 3))), "b", (2, 6, 3, 3))


def reshaped(net: Net, layer: str, beside: str) -> str:
    return net.Reshape(conv(net, layer, "a", (6, CHANNELS, 3, 3)), np.array([1, 6, -1]))


def joined(net: Net, layer: str, beside: str) -> str:
    return conv(net, net.Concat(layer, net.Sigmoid(beside), axis=1), "a", (2, 2 * CHANNELS, 3, 3))


def resized(net: Net, layer: str, beside: str) -> str:
    sizes = np.array([1, CHANNELS, 2 * SIDE, 2 * SIDE])
    return conv(net, net.Resize(layer, None, None, sizes, mode="nearest"), "a", (2, CHANNELS, 3, 3))


def pooled(net: Net, layer: str, beside: str) -> str:
    return net.MatMul(net.Flatten(net.GlobalAveragePool(layer)), weights("a", CHANNELS, 3))


def with_a_mean(net: Net, layer: str, beside: str) -> str:
    mean = net.Conv(net.GlobalAveragePool(layer), weights("m", 2, CHANNELS, 1, 1))
    return net.Add(conv(net, layer, "a", (2, CHANNELS, 3, 3)), mean)


def normalised(net: Net, layer: str, beside: str) -> str:
    ones = np.ones(CHANNELS, np.float32)
    return conv(net, net.InstanceNormalization(layer, ones, 0 * ones), "a", (2, CHANNELS, 3, 3))


def positioned(net: Net, layer: str, beside: str) -> str:
    return conv(net, net.Add(layer, weights("p", 1, CHANNELS, SIDE, SIDE)), "a", (2, CHANNELS, 3, 3))


def flat(net: Net, layer: str, beside: str) -> str:
    """It counts on one image: a batch would be one long row."""
    return net.MatMul(net.Reshape(layer, np.array([-1])), weights("a", CHANNELS * SIDE * SIDE, 3))


def tokens(net: Net, layer: str, beside: str) -> str:
    """Matrix products, which ONNX Runtime makes products of rows: [1, N, C] as [N, C], and back."""
    rows = net.Transpose(net.Reshape(layer, np.array([1, CHANNELS, SIDE * SIDE])), perm=[0, 2, 1])
    for name, size in (("a", 5), ("b", 3)):
        number = CHANNELS if name == "a" else 5
        rows = net.Add(net.MatMul(rows, weights(name, number, size)), weights(f"{name}.bias", size))
    return rows


def over_the_batch(net: Net, layer: str, beside: str) -> str:
    """A mean over the first axis, which is one image: of several it would be of all."""
    return net.Sub(conv(net, layer, "a", (2, CHANNELS, 3, 3)), net.ReduceMean(net.Abs(layer), np.array([0, 1])))


CASES: dict[str, tuple[Build, bool, str]] = {
    "convolutions": (convolutions, True, "window"),
    "a reshape to one image": (reshaped, True, "cells"),
    "what comes from before the layer": (joined, True, "cells"),
    "a resize to one image": (resized, True, "cells"),
    "a pooling over the map": (pooled, True, "cells"),  # each of them lies in the window
    "a window and a mean": (with_a_mean, True, "map"),
    "statistics of the map": (normalised, True, "map"),
    "constants of each cell": (positioned, True, "cells"),
    "tokens": (tokens, True, "cells"),
    "one long row": (flat, False, "map"),
    "a mean over the batch": (over_the_batch, False, "cells"),
}


@pytest.mark.parametrize("name", CASES)
def test_what_it_takes_and_what_a_number_depends_on(name: str) -> None:
    head, several, scope = CASES[name]
    case = Case(head)
    assert (case.tried.several is not None, case.scope) == (several, scope)
    assert case.tried.rest.context == (() if head is not joined else case.tried.rest.context)
    assert len(case.tried.rest.context) == (head is joined)


@pytest.mark.parametrize("name", [name for name, (_, several, _) in CASES.items() if several])
def test_each_of_several_maps_gives_what_it_gives_alone(name: str, tmp_path: Path) -> None:
    case = Case(CASES[name][0])
    with WeightsFile(tmp_path / "weights.bin") as file:
        case.tried.write(tmp_path / "head.onnx", file)
    assert case.tried.error(case.run, tmp_path / "head.onnx") == 0
    running = open_session(tmp_path / "head.onnx")
    context = {one: case.run.found[one] for one in case.tried.rest.context}
    maps = np.random.default_rng(1).standard_normal((5, CHANNELS, SIDE, SIDE)).astype(np.float32)
    (together,) = running.run(None, {"layer": maps, **context})
    assert len(together) == 5
    for number, one in enumerate(maps):
        (alone,) = running.run(None, {"layer": one[None], **context})
        assert together[number] == pytest.approx(alone[0], abs=1e-5)


def test_what_was_not_cut_out_is_noticed(tmp_path: Path) -> None:
    case = Case(convolutions)
    with WeightsFile(tmp_path / "weights.bin") as file:
        case.tried.write(tmp_path / "head.onnx", file)
    assert (
        case.tried.error(Run({**case.run.found, "end": case.run.found["end"] + 1}, {}), tmp_path / "head.onnx") > 0.05
    )
    shorter = Run({**case.run.found, "end": case.run.found["end"][:, :1]}, {})
    assert case.tried.error(shorter, tmp_path / "head.onnx") == np.inf


def chosen(net: Net, layer: str, beside: str) -> str:
    return net.node("TopK", [net.Reshape(layer, np.array([1, -1])), np.array([5])], 2)[0]


def branched(net: Net, layer: str, beside: str) -> str:
    yes = net.Greater(net.ReduceMax(layer, keepdims=0), np.float32(0))
    there, other = (branch(lambda inner, of=of: inner.Mul(layer, np.float32(of)), net) for of in (2, 3))
    return net.node("If", [yes], then_branch=there, else_branch=other)[0]


def with_the_image(net: Net, layer: str, beside: str) -> str:
    return conv(net, net.Concat(net.Resize(layer, None, np.float32([1, 1, 2, 2])), "image", axis=1), "a", (2, 7, 3, 3))


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (chosen, r"boxes are chosen between the layer and end \(TopK\)\. Choose a layer after it with layers="),
        (branched, r"has branches\. Choose a layer after it with layers="),
        (with_the_image, r"end is computed from the image and the layer\. Choose another layer with layers="),
    ],
)
def test_what_is_no_graph_of_the_layer_alone_is_not_cut_out(head: Build, words: str) -> None:
    case = Case(head)
    assert case.head is None
    with pytest.raises(ExportError, match=words):
        cut_after(case.model, ["layer"], "end")


def test_an_end_that_does_not_depend_on_the_layer_has_no_graph() -> None:
    case = Case(lambda net, layer, beside: conv(net, beside, "a", (2, CHANNELS, 3, 3)))
    assert case.head is None
    assert cut_after(case.model, ["layer"], "end") is None


def test_a_target_that_cannot_be_cut_out_takes_none_from_another() -> None:
    net = Net()
    layer = net.node("Relu", [net.input("given", (1, CHANNELS, SIDE, SIDE))], name="layer")[0]
    other = conv(net, layer, "a", (2, CHANNELS, 3, 3), name="other")
    net.node("Identity", [chosen(net, other, layer)], name="end")
    found = build(net.model(["layer", "other", "end"]), ["layer"], {"x1": ["end"], "logit": ["other"]})
    assert [(head.end, head.target, head.number) for head in found] == [("other", "logit", 0)]


def test_what_is_said_of_each_proposal_goes_with_it() -> None:
    """As the logits of a cascade's other stages, which are added to those of a row."""
    net = Net()
    rows = net.node("Relu", [net.input("given", ("n", CHANNELS, 3, 3))], name="layer")[0]
    others = net.node("Sigmoid", [net.input("more", ("n", 3))], name="others")[0]
    both = net.Add(net.MatMul(net.Flatten(rows), weights("a", CHANNELS * 9, 3)), others)
    net.node("Identity", [net.Mul(both, net.node("Sigmoid", [net.input("all", (1, 3))], name="scale")[0])], name="end")
    model = net.model(["layer", "others", "scale", "end"])
    random = np.random.default_rng(2)
    feeds = {"given": random.random((6, CHANNELS, 3, 3), np.float32), "more": random.random((6, 3), np.float32)}
    feeds["all"] = random.random((1, 3), np.float32)
    values = {str(value.name): value for value in all_values(model.graph)}
    names = ["layer", "others", "scale", "end"]
    found = observe_values(model, [values[name] for name in names], feeds)
    (head,) = build(model, ["layer"], {"logit": ["end"]})
    tried = head.tried([Run(dict(zip(names, found, strict=True)), feeds)], rows=True)
    assert tried is not None
    assert (set(tried.rest.context), tried.rows, tried.several is None) == ({"others", "scale"}, ("others",), False)
    described = tried.described("head.roi.onnx", "map")
    assert (described.batch, described.rows) == (True, ("others",))


def test_proposals_that_go_together_are_not_run_apart() -> None:
    """Of rows, what comes out of some has to be what comes out of them among the others."""
    for together in (False, True):
        net = Net()
        rows = net.node("Relu", [net.input("given", ("n", CHANNELS, 3, 3))], name="layer")[0]
        logits = net.MatMul(net.Flatten(rows), weights("a", CHANNELS * 9, 3))
        if together:
            logits = net.Sub(logits, net.ReduceMean(logits, np.array([0])))
        net.node("Identity", [logits], name="end")
        model = net.model(["layer", "end"])
        given = np.random.default_rng(2).random((6, CHANNELS, 3, 3), np.float32)
        values = {str(value.name): value for value in all_values(model.graph)}
        end = observe_values(model, [values["end"]], {"given": given})[0]
        (head,) = build(model, ["layer"], {"logit": ["end"]})
        run = Run({"layer": given, "end": end}, {})
        tried = head.tried([run], rows=True)
        none = head.tried([Run({"layer": given[:0], "end": end[:0]}, {})], rows=True)
        assert tried is not None
        assert none is not None
        assert (tried.several is None, none.several is None) == (together, False)


def test_no_two_heads_have_one_file() -> None:
    """A layer may be called as another one with a number after it."""
    head = Case(convolutions).head
    assert head is not None
    stems = ("gradient.backbone", "gradient.backbone.1", "gradient.backbone.1~2")
    files = [file for stem in stems for _, file in named([head] * 3, stem)]
    assert files[:3] == ["head.backbone.onnx", "head-1.backbone.onnx", "head-2.backbone.onnx"]
    assert len(set(files)) == 9


def test_what_does_not_run_is_left_out() -> None:
    case = Case(convolutions)
    assert case.head is not None
    for node in case.head.rest.model.graph:
        node.domain = "boxcam.nowhere"
    assert case.head.tried([case.run], rows=False) is None
