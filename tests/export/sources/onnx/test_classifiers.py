"""Plain ONNX classifiers: the best classes are those of torch, and so are the gradients; layers by module names."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import boxcam
from boxcam.errors import SourceError, UnknownNameError
from boxcam.runtime.preprocess import prepare
from tests.export.sources.onnx.classifier import Classifier, save

NAMES = [f"kind {k}" for k in range(7)]


def picture() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 255, (50, 70, 3)).astype(np.uint8)


ENDINGS = {"logits": None, "softmax": nn.Softmax(1), "sigmoid": nn.Sigmoid()}


@pytest.mark.parametrize("dynamo", [False, True])
@pytest.mark.parametrize("ending", ENDINGS)
def test_classes_and_gradients_are_those_of_torch(ending: str, dynamo: bool, tmp_path: Path) -> None:
    network = Classifier(ENDINGS[ending])
    path = save(network, tmp_path / "model.onnx", dynamo)
    boxcam.export(
        path, output=tmp_path / "b", layers=["layer3"], preprocess="imagenet", engine="onnx", class_names=NAMES
    )
    model = boxcam.load(tmp_path / "b", threads=1)
    layer = model.runtime.layer("layer3")
    prediction = model.runtime.predict(picture(), layer)
    image = torch.from_numpy(prepare(picture(), model.manifest.preprocess)[0])
    features = network.features(image).detach().requires_grad_()
    logits = network.logits(features)
    scores = logits.sigmoid() if ending == "sigmoid" else logits.softmax(1)
    expected, order = scores[0].sort(descending=True)
    found = prediction.detections
    np.testing.assert_array_equal(found.labels, order)
    np.testing.assert_allclose(found.scores, expected.detach(), atol=1e-6)
    assert found.names == tuple(NAMES[k] for k in order)
    np.testing.assert_allclose(found.boxes, np.tile(found.boxes[:1], (7, 1)))
    for k, (patch,) in enumerate(model.runtime.patches(prediction, layer, range(7))):
        (gradient,) = torch.autograd.grad(logits[0, order[k]], features, retain_graph=True)
        whole = np.zeros_like(gradient[0].numpy())
        y, x = patch.corner
        whole[:, y : y + patch.gradient.shape[1], x : x + patch.gradient.shape[2]] = patch.gradient
        whole += 0 if patch.uniform is None else patch.uniform[:, None, None]
        np.testing.assert_allclose(whole, gradient[0].numpy(), atol=1e-4 * float(gradient.abs().max()))


def test_all_targets_of_a_classifier_are_its_logit_and_its_score(tmp_path: Path) -> None:
    network = Classifier()
    path = save(network, tmp_path / "model.onnx")
    options = {"layers": ["layer3"], "preprocess": "imagenet", "engine": "onnx"}
    manifest = boxcam.export(path, output=tmp_path / "b", targets=["all"], **options)
    assert [target.name for target in manifest.targets] == ["logit", "score"]
    assert [gradient.target for gradient in manifest.layers[0].gradients] == ["logit", "score"]
    model = boxcam.load(tmp_path / "b", threads=1)
    found = boxcam.explain(model, picture(), target="score", score=0)
    image = torch.from_numpy(prepare(picture(), model.manifest.preprocess)[0])
    scores = network(image).softmax(1)[0].sort(descending=True).values.detach()
    np.testing.assert_allclose(found.values, scores, atol=1e-6)
    with pytest.raises(UnknownNameError, match=r"no target 'x1': a classifier's box is .* one of: logit, score"):
        boxcam.explain(model, picture(), target="x1")


def test_without_a_layer_it_is_the_last_map(tmp_path: Path) -> None:
    path = save(Classifier(), tmp_path / "model.onnx")
    manifest = boxcam.export(path, output=tmp_path / "b", preprocess="imagenet", engine="onnx")
    assert [(layer.name, layer.tensors[0].channels) for layer in manifest.layers] == [("features", 16)]
    assert manifest.labels[:2] == ("class 0", "class 1")


def test_the_number_of_class_names_has_to_fit(tmp_path: Path) -> None:
    path = save(Classifier(), tmp_path / "model.onnx")
    with pytest.raises(SourceError, match=r"there are 2 class names.*has 7 classes"):
        boxcam.export(path, output=tmp_path / "b", preprocess="imagenet", class_names=["a", "b"])


@pytest.mark.parametrize("place", ["first", "last"])
def test_a_class_for_nothing_is_no_class(place: str, tmp_path: Path) -> None:
    network = Classifier()
    path = save(network, tmp_path / "model.onnx")
    options = {"layers": ["layer3"], "preprocess": "imagenet", "engine": "onnx", "class_names": NAMES[:6]}
    manifest = boxcam.export(path, output=tmp_path / "b", background=place, **options)
    assert manifest.source["scores"] == f"output, softmax, without the {place} class"
    model = boxcam.load(tmp_path / "b", threads=1)
    image = torch.from_numpy(prepare(picture(), model.manifest.preprocess)[0])
    logits = network(image)[0].detach()
    real = slice(1, None) if place == "first" else slice(-1)
    expected, order = logits.softmax(0)[real].sort(descending=True)
    found = model.detect(picture())
    np.testing.assert_array_equal(found.labels, order)
    np.testing.assert_allclose(found.scores, expected, atol=1e-6)
    np.testing.assert_allclose(found.logits, logits[real][order], atol=1e-4)
    assert found.names == tuple(NAMES[k] for k in order)


def test_lines_of_a_names_file_are_numbers(tmp_path: Path) -> None:
    """An empty line is a class without a name, those at the end are none."""
    path, names = save(Classifier(), tmp_path / "model.onnx"), tmp_path / "names.txt"
    names.write_text("\n red \nblue\n\nc\u00f4te\n  \nf\n\n \n", encoding="utf-8-sig")
    manifest = boxcam.export(path, output=tmp_path / "b", preprocess="imagenet", engine="onnx", class_names=names)
    assert manifest.labels == ("class 0", "red", "blue", "class 3", "c\u00f4te", "class 5", "f")


def test_a_name_that_several_tensors_begin_with_is_asked_for(tmp_path: Path) -> None:
    path = save(Classifier(), tmp_path / "model.onnx")
    with pytest.raises(SourceError, match="layer '/layer' is ambiguous: it may be /layer1/conv/Conv_output_0, /layer1"):
        boxcam.export(path, output=tmp_path / "b", preprocess="imagenet", layers=["/layer"])
    with pytest.raises(boxcam.BoxcamError, match="no layer 'layer9'"):
        boxcam.export(path, output=tmp_path / "b", preprocess="imagenet", layers=["layer9"])


class Transformer(nn.Module):
    """A vision transformer: patches of 16 pixels, a class token, three blocks."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patches = nn.Conv2d(3, 16, 16, 16)
        self.token, self.place = nn.Parameter(torch.randn(1, 1, 16)), nn.Parameter(torch.randn(1, 13, 16))
        layer = nn.TransformerEncoderLayer(16, 2, 32, activation="gelu", batch_first=True, norm_first=True, dropout=0)
        self.blocks = nn.ModuleList([copy.deepcopy(layer) for _ in range(3)])
        self.norm, self.fc = nn.LayerNorm(16), nn.Linear(16, 7)
        self.eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token, tokens], 1) + self.place
        for block in self.blocks:
            normal = block.norm1(tokens)
            tokens = tokens + block.self_attn(normal, normal, normal, need_weights=False)[0]
            tokens = tokens + block.linear2(torch.nn.functional.gelu(block.linear1(block.norm2(tokens))))
        return self.fc(self.norm(tokens)[:, 0])


def test_of_a_transformer_the_last_block_s_first_norm_is_looked_at(tmp_path: Path) -> None:
    network = Transformer()
    path = save(network, tmp_path / "model.onnx", opset_version=17)
    boxcam.export(path, output=tmp_path / "b", preprocess="imagenet", engine="onnx")
    model = boxcam.load(tmp_path / "b", threads=1)
    (layer,) = model.manifest.layers
    (tensor,) = layer.tensors
    assert (layer.name, tensor.channels, tensor.height, tensor.width) == ("features", 16, 3, 4)
    assert (tensor.stride, tensor.center) == ((16, 16), (8, 8))
    prediction = model.runtime.predict(picture(), layer)
    image = torch.from_numpy(prepare(picture(), model.manifest.preprocess)[0])
    kept: list[torch.Tensor] = []

    def keep(module: nn.Module, given: object, output: torch.Tensor) -> torch.Tensor:
        kept.append(output.detach().requires_grad_())
        return kept[0]

    handle = network.blocks[-1].norm1.register_forward_hook(keep)
    logits = network(image)
    handle.remove()
    np.testing.assert_allclose(np.sort(logits.detach().numpy()[0])[::-1], prediction.detections.logits, atol=1e-4)
    for k, (patch,) in enumerate(model.runtime.patches(prediction, layer, range(3))):
        (gradient,) = torch.autograd.grad(logits[0, prediction.detections.labels[k]], kept[0], retain_graph=True)
        expected = gradient[0, 1:].T.reshape(16, 3, 4).numpy()
        whole = np.zeros_like(expected)
        y, x = patch.corner
        whole[:, y : y + patch.gradient.shape[1], x : x + patch.gradient.shape[2]] = patch.gradient
        whole += 0 if patch.uniform is None else patch.uniform[:, None, None]
        np.testing.assert_allclose(whole, expected, atol=1e-4 * np.abs(expected).max())
