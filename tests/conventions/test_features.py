"""Numbers of a whole image that are no scores of classes: features, embeddings, places and measures are asked about."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from boxcam.bundle import Finding
from boxcam.errors import SourceError
from boxcam.export.heads.evidence.features import words_of
from tests.conventions.belief import against
from tests.conventions.files import Levels
from tests.conventions.reading import read
from tests.export.sources.onnx.plain import SIZE, Plain

Build = Callable[[Levels, str], str]
"""Writes a graph; it gets the last map, [1, 8, 2, 3]."""


def layer(net: Levels, read: str, count: int = 10) -> str:
    """A last layer with weights, of the mean of a map."""
    weight = net.random.standard_normal((8, count)).astype(np.float32)
    return net.Gemm(net.Flatten(net.GlobalAveragePool(read)), weight, np.zeros(count, np.float32))


def wide(net: Levels, read: str, count: int) -> str:
    """A map of more channels, before its activation."""
    return net.Conv(read, net.random.standard_normal((count, 8, 1, 1)).astype(np.float32), kernel_shape=[1, 1])


def silu(net: Levels, read: str) -> str:
    return net.Mul(read, net.Sigmoid(read))


def gelu(net: Levels, read: str) -> str:
    erf = net.Erf(net.Div(read, np.float32(1.4142135)))
    return net.Mul(net.Mul(read, net.Add(erf, np.float32(1))), np.float32(0.5))


def layer_norm(net: Levels, read: str) -> str:
    """As written before opset 17."""
    off = net.Sub(read, net.ReduceMean(read, axes=[-1]))
    spread = net.Sqrt(net.Add(net.ReduceMean(net.Pow(off, np.float32(2)), axes=[-1]), np.float32(1e-5)))
    return net.Add(net.Mul(net.Div(off, spread), np.ones(10, np.float32)), np.zeros(10, np.float32))


def batch_norm(net: Levels, read: str) -> str:
    ones, zeros = np.ones(10, np.float32), np.zeros(10, np.float32)
    return net.BatchNormalization(read, ones, zeros, zeros, ones)


FEATURES: dict[str, Build] = {
    "tanh": lambda net, x: net.Tanh(layer(net, x)),
    "relu": lambda net, x: net.Relu(layer(net, x)),
    "silu": lambda net, x: silu(net, layer(net, x)),
    "gelu": lambda net, x: gelu(net, layer(net, x)),
    "layer norm": lambda net, x: layer_norm(net, layer(net, x)),
    "batch norm": lambda net, x: batch_norm(net, layer(net, x)),
    "pooled relu": lambda net, x: net.Flatten(net.GlobalAveragePool(net.Relu(wide(net, x, 48)))),
    "pooled silu": lambda net, x: net.ReduceMean(silu(net, wide(net, x, 48)), axes=[2, 3], keepdims=0),
    "pooled relu6": lambda net, x: net.Flatten(
        net.GlobalAveragePool(net.Clip(wide(net, x, 128), np.float32(0), np.float32(6)))
    ),
    "the first token": lambda net, x: net.Gather(
        layer_norm(net, net.Unsqueeze(layer(net, x), np.array([0]))), np.array(0), axis=1
    ),
    "as many as features are": lambda net, x: layer(net, x, 512),
}
SCORES: dict[str, Build] = {
    "a last layer": lambda net, x: layer(net, x),
    "of a temperature": lambda net, x: net.Div(layer(net, x), np.float32(0.07)),
    "softmax": lambda net, x: net.Softmax(layer(net, x, 64), axis=1),
    "log of a softmax": lambda net, x: net.LogSoftmax(layer(net, x), axis=1),
    "pooled layer": lambda net, x: net.Flatten(net.GlobalAveragePool(wide(net, x, 10))),
    "SqueezeNet": lambda net, x: net.Flatten(net.GlobalAveragePool(net.Relu(wide(net, x, 1000)))),
    "softmax of a tanh": lambda net, x: net.Softmax(net.Tanh(layer(net, x)), axis=1),
}
NAMES = {"embedding": 10, "image_embeds": 10, "imageFeatures": 10, "pooler_output": 10, "landmarks": 10}
NAMES |= {"head_pose": 3, "fc_yaw": 2, "age": 2}


def write(path: Path, build: Build, name: str = "output") -> Path:
    net = Levels(3)
    found = build(net, net.necks[-1])
    net.node("Identity", [found], name=name)
    onnx.save(net.proto([name]), str(path))
    return path


@pytest.mark.parametrize("case", FEATURES)
def test_features_are_no_scores_unless_the_user_says_so(case: str, tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx", FEATURES[case])
    with pytest.raises(SourceError, match=r'may be a score for each class.*Pass convention="classifier" if so'):
        read(path)
    assert read(path, convention="classifier").convention.kind == "classes"


@pytest.mark.parametrize("case", SCORES)
def test_what_a_last_layer_or_an_activation_makes_are_scores(case: str, tmp_path: Path) -> None:
    assert read(write(tmp_path / "m.onnx", SCORES[case])).convention.kind == "classes"


@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_something_else_is_asked_about(name: str, tmp_path: Path) -> None:
    count = NAMES[name]
    path = write(tmp_path / "m.onnx", lambda net, x: layer(net, x, count), name)
    with pytest.raises(SourceError, match="nothing in the graph shows that"):
        read(path)
    names = [f"class {number}" for number in range(count)]
    assert read(path, class_names=names).convention.kind == "classes"


def test_two_heads_of_classes_are_asked_about_and_an_embedding_beside_one_is_named(tmp_path: Path) -> None:
    def heads(net: Levels, x: str, names: tuple[str, str], counts: tuple[int, int]) -> Path:
        for name, count in zip(names, counts, strict=True):
            net.node("Identity", [layer(net, x, count)], name=name)
        onnx.save(net.proto(names), str(tmp_path / "m.onnx"))
        return tmp_path / "m.onnx"

    net = Levels(3)
    path = heads(net, net.necks[-1], ("gender", "age"), (2, 101))
    with pytest.raises(SourceError, match=r"the scores may be gender or age\. Pass the right one with scores="):
        read(path)
    assert read(path, scores="age").convention.rest == "gender [1, 2]"
    net = Levels(3)
    found = read(heads(net, net.necks[-1], ("logits", "embedding"), (10, 64))).convention
    assert (str(found.scores), found.rest) == ("logits", "embedding [1, 64]")


@pytest.mark.parametrize("name", ["logits", "age_logits", "pose_class", "scores"])
def test_a_name_of_scores_is_one_of_scores_however_many_there_are(name: str, tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx", FEATURES["as many as features are"], name)
    assert read(path).convention.kind == "classes"


def test_the_words_of_a_name() -> None:
    assert words_of("image_embeds2") == {"image", "embeds"}
    assert words_of("poolerOutput") == {"pooler", "output"}
    assert words_of("onnx::Gemm_512") == {"onnx", "gemm"}


def measured(path: Path, middle: float, spread: float, count: int, last: str = "") -> str | None:
    """The verdict on the scores of a classifier whose last layer gives numbers around a middle."""
    net = Plain((1, 3, SIZE, SIZE))
    random = np.random.default_rng(count)
    net.matrix = random.normal(0, spread, (net.matrix.shape[0], count)).astype(np.float32)
    found = net.Add(net.logits(name="raw"), random.uniform(middle - 0.2, middle + 0.2, count).astype(np.float32))
    net.node(last or "Identity", [found], name="output")
    finding = against(net.save(path, ["output"])).get("scores")
    return finding.verdict if isinstance(finding, Finding) else None


@pytest.mark.parametrize("count", [10, 136])
def test_numbers_of_0_to_1_that_no_activation_makes_are_places(count: int, tmp_path: Path) -> None:
    """A softmax of them could be sure of nothing."""
    assert measured(tmp_path / "m.onnx", 0.5, 0.01, count) == "implausible"


@pytest.mark.parametrize(
    ("middle", "spread", "count", "last"),
    [
        (0, 0.01, 136, ""),  # around 0, as a last layer without training gives
        (0.5, 0.01, 3, ""),  # too few to tell
        (0.5, 0.01, 136, "Softmax"),
        (0, 2, 136, ""),
    ],
)
def test_other_numbers_are_not_taken_for_places(
    middle: float, spread: float, count: int, last: str, tmp_path: Path
) -> None:
    assert measured(tmp_path / "m.onnx", middle, spread, count, last) is None


def test_places_in_pixels_are_told(tmp_path: Path) -> None:
    assert measured(tmp_path / "m.onnx", 56, 0.5, 136) == "doubtful"
