"""torchvision's classifiers by name: their classes are torchvision's own, and what an image becomes is, too."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import torchvision
from click.testing import Result

import boxcam
from boxcam.errors import BoxcamWarning, SourceError
from boxcam.export.graphs.run import observe_values
from boxcam.export.source import Request
from boxcam.export.sources.torchvision import classifiers as zoo
from boxcam.export.sources.torchvision import detectors as models
from boxcam.export.sources.torchvision import source as source
from boxcam.runtime.images import read_image
from boxcam.runtime.preprocess import fit, prepare

PICTURE = Path(__file__).resolve().parents[4] / "examples" / "signs" / "images" / "cat.jpg"
SIZE = (64, 96)
NAMES = [f"kind {k}" for k in range(11)] + ["kind 3"]  # of two classes that share a name


def made(name: str, path: Path, **options: Any) -> Any:
    """A classifier of twelve classes, its weights in a file."""
    torch.manual_seed(0)
    model = torchvision.models.get_model(name, weights=None, num_classes=12, **options).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None
            module.train()
    last = [m for m in model.modules() if isinstance(m, (torch.nn.Linear, torch.nn.Conv2d))][-1]
    with torch.no_grad():
        model(torch.randn(4, 3, *SIZE))
        last.weight.mul_(20)
    torch.save(model.eval().state_dict(), path)
    return model


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return made("mobilenet_v3_small", tmp_path_factory.getbasetemp() / "mobilenet.pth")


@pytest.fixture(scope="module")
def bundle(live: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("classifier")
    torch.save({"model": {f"module.{k}": v for k, v in live.state_dict().items()}, "epoch": 3}, folder / "w.pth")
    (folder / "names.txt").write_text("\n".join(NAMES) + "\n")
    boxcam.export(
        "torchvision:mobilenet_v3_small", folder / "w.pth", output=folder / "b", shape=SIZE, sample=PICTURE,
        class_names=folder / "names.txt", layers=["features", "features.8", "image"], engine="onnx",
    )  # fmt: skip
    return folder / "b"


def test_the_classes_are_torchvisions_own(live: Any, bundle: Path) -> None:
    model = boxcam.load(bundle, threads=1)
    canvas = prepare(read_image(PICTURE), model.manifest.preprocess)[0]
    with torch.no_grad():
        logits = live(torch.from_numpy(canvas))[0]
    scores, order = logits.softmax(0).sort(descending=True)
    found = model.detect(read_image(PICTURE))
    np.testing.assert_array_equal(found.labels, order)
    np.testing.assert_allclose(found.scores, scores, atol=1e-5)
    np.testing.assert_allclose(found.logits, logits[order], atol=1e-4)
    assert found.names == tuple(NAMES[k] for k in order)
    assert model.manifest.outputs.whole_image
    place = fit(*read_image(PICTURE).shape[:2], model.manifest.preprocess)
    np.testing.assert_allclose(found.boxes, [place.seen] * 12, atol=1e-3)  # what the crop leaves of the picture


def test_layers_are_modules_tensors_and_pixels(bundle: Path) -> None:
    features, eighth, image = boxcam.load(bundle, threads=1).manifest.layers
    assert (features.name, features.tensors[0].channels, features.tensors[0].stride) == ("features", 576, (32, 32))
    assert (eighth.name, eighth.tensors[0].channels, eighth.tensors[0].stride) == ("features.8", 48, (16, 16))
    assert (image.name, image.tensors[0].channels) == ("image", 3)
    source_of = boxcam.load(bundle, threads=1).manifest.source
    assert (source_of["model"], source_of["family"]) == ("mobilenet_v3_small", "MobileNetV3")


@pytest.mark.parametrize(
    ("name", "layer", "channels", "stride"),
    [("resnet18", "layer4", 512, 32), ("squeezenet1_1", "features", 512, 16), ("mnasnet0_5", "features", 1280, 32)],
)
def test_the_last_map_is_the_default(name: str, layer: str, channels: int, stride: int, tmp_path: Path) -> None:
    model = made(name, tmp_path / "w.pth")
    torch.save(dict(model.state_dict()), tmp_path / "w.pth")  # without the versions that torch writes beside them
    found = source.load(Request((f"torchvision:{name}", str(tmp_path / "w.pth")), SIZE), lambda step: None)
    assert found.default_layers == (layer,)
    values = {value.name: value for node in found.model.graph for value in node.outputs}
    canvas = np.random.default_rng(0).standard_normal((1, 3, *SIZE)).astype(np.float32)
    (tensor,) = found.layers[layer].tensors
    (last,) = observe_values(found.model, [values[tensor]], {found.input: canvas})
    assert last.shape == (1, channels, SIZE[0] // stride - (stride == 16), SIZE[1] // stride - (stride == 16))
    assert set(found.layers) == ({"layer1", "layer2", "layer3", "layer4"} if name == "resnet18" else {"features"})
    assert found.labels == tuple(f"class {k}" for k in range(12))


def test_a_class_is_explained_by_its_name_or_its_rank(bundle: Path) -> None:
    model = boxcam.load(bundle, threads=1)
    every = model.detect(read_image(PICTURE))
    explain: Callable[..., Any] = lambda **o: boxcam.explain(model, PICTURE, **o).detections  # noqa: E731
    assert len(explain()) == (every.scores >= 0.3).sum() < 12
    worst = every.names[-1]
    assert worst in explain(classes=worst).names
    assert explain(classes=int(every.labels[-1])).scores[0] == every.scores[-1]
    assert len(explain(classes=worst, score=0.99)) == 0
    np.testing.assert_array_equal(explain(rank=[5, 2, 5]).labels, every.labels[[1, 4]])
    assert explain(rank=np.int64(12)).labels[0] == every.labels[11]
    assert len(explain(rank=13)) == 0
    both = explain(classes="kind 3")
    assert sorted(both.labels) == [3, 11]
    assert explain(classes="kind 3", rank=2).labels.tolist() == both.labels[1:].tolist()
    with pytest.raises(ValueError, match=r"rank=\[0\] is not a whole number above 0"):
        explain(rank=[0])


def test_on_the_command_line(bundle: Path, tmp_path: Path, cli: Callable[..., Result]) -> None:
    every = boxcam.load(bundle, threads=1).detect(read_image(PICTURE))
    done = cli("explain", bundle, PICTURE, "-o", tmp_path, "--rank", "12", "--rank", "2", "--threads", "1")
    assert (done.exit_code, done.stderr) == (0, "")
    said = json.loads((tmp_path / "cat.json").read_text())
    assert [one["label"] for one in said["detections"]] == every.labels[[1, 11]].tolist()
    assert (said["rank"], said["score_threshold"], said["top"]) == ([2, 12], 0, None)
    assert "2 classes" in done.stdout
    assert "10 others left out (at other ranks)" in done.stdout
    done = cli("explain", bundle, PICTURE, "-o", tmp_path, "--class", every.names[-1], "--threads", "1")
    assert every.labels[-1] in [one["label"] for one in json.loads((tmp_path / "cat.json").read_text())["detections"]]
    done = cli("explain", bundle, PICTURE, "-o", tmp_path, "--rank", "13", "--threads", "1")
    assert "no class at rank 13, as there are only 12 classes" in done.stdout
    done = cli("explain", bundle, PICTURE, "-o", tmp_path, "--rank", "13", "--rank", "1", "--threads", "1")
    assert "cat.jpg: 1 class, none at rank 13, " in done.stdout
    done = cli("explain", bundle, PICTURE, "-o", tmp_path, "--score", "1", "--threads", "1")
    assert "; --rank 1 shows the best one, --score 0" in done.stdout


@pytest.mark.parametrize(
    ("name", "published", "resized", "crop"),
    [
        ("resnet50", "IMAGENET1K_V1", 256, 224),
        ("resnet50", "IMAGENET1K_V2", 232, 224),
        ("resnet50", None, 256, 224),
        ("efficientnet_b3", "IMAGENET1K_V1", 320, 300),
        ("efficientnet_v2_l", "IMAGENET1K_V1", 480, 480),
    ],
)
def test_preprocessing_is_that_of_the_weights(
    name: str, published: str | None, resized: int, crop: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "published", lambda name, path: published)
    spec = zoo.preprocess(name, torch.nn.Identity(), "w.pth", None, [])
    assert (spec.height, spec.width, spec.fit_height, spec.fit_width) == (crop, crop, resized, resized)
    weights = torchvision.models.get_model_weights(name)[published or "IMAGENET1K_V1"]
    for size in ((300, 400), (700, 500), (480, 480)):
        picture = cv2.resize(read_image(PICTURE), size[::-1])
        rgb = torch.from_numpy(picture[:, :, ::-1].copy()).permute(2, 0, 1)
        theirs = weights.transforms()(rgb).numpy()
        apart = np.abs(prepare(picture, spec)[0][0] - theirs) * np.array(spec.std)[:, None, None]
        assert apart.mean() < 1.5  # of 255: OpenCV's resize is not Pillow's
        assert np.median(apart) < 1


def test_preprocessing_that_is_said() -> None:
    def spec(name: str = "resnet50", shape: tuple[int, int] | None = None, given: list[str] | None = None) -> Any:
        return zoo.preprocess(name, torch.nn.Identity(), __file__, shape, given or [])

    def sizes(spec: Any) -> tuple[int, ...]:
        return spec.height, spec.width, spec.fit_height, spec.fit_width

    assert sizes(spec(shape=(64, 96))) == (64, 96, 73, 109)
    assert sizes(spec(given=["size=64x96"])) == (64, 96, 73, 109)
    assert sizes(spec(given=["fit=232x232"])) == (224, 224, 232, 232)
    assert sizes(spec(given=["crop_pct=1.0"])) == (224, 224, 224, 224)
    assert spec(given=["mean=0.5", "color=BGR"]).mean == (127.5, 127.5, 127.5)
    assert spec(given=["tf", "mean=0"]).resize == "stretch"
    assert sizes(spec(given=["tf", "size=96x96"])) == (96, 96, 96, 96)
    padded = spec(given=["resize=fit", "pad=center", "pad_value=114"])  # its graph is of one size, whatever the resize
    assert (*sizes(padded), padded.multiple) == (224, 224, 224, 224, 0)
    with pytest.raises(SourceError, match="resize 'none' is for a model whose height and width are dynamic"):
        spec(given=["resize=none", "pad=center", "pad_value=114"])
    with pytest.raises(SourceError, match="contradict"):
        spec(shape=(64, 64), given=["size=96x96"])


def test_a_vision_transformer_has_the_size_of_its_checkpoint(tmp_path: Path) -> None:
    whole = torch.zeros(1, 1 + 24 * 24, 768)
    model = zoo.build("vit_b_16", {"encoder.pos_embedding": whole, "conv_proj.weight": torch.zeros(768, 3, 16, 16)})
    assert model.image_size == 384
    spec = zoo.preprocess("vit_b_16", model, __file__, None, [])
    assert (spec.height, spec.fit_height) == (384, 384)  # as the published weights of that size have it
    with pytest.raises(SourceError, match="is a vit_b_16 for images of 384x384 pixels only, and not 224x224"):
        zoo.preprocess("vit_b_16", model, __file__, (224, 224), [])


def test_a_model_that_may_normalise_by_itself(tmp_path: Path) -> None:
    torch.manual_seed(0)
    own = torchvision.models.googlenet(weights=None, num_classes=5, init_weights=False, aux_logits=True).eval()
    torch.save(own.state_dict(), tmp_path / "w.pth")
    with pytest.warns(BoxcamWarning, match="does not tell whether its googlenet was built with transform_input"):
        loaded = zoo.load("googlenet", str(tmp_path / "w.pth"))
    assert (loaded.transform_input, own.transform_input) == (False, False)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("error")
        patch.setattr(models, "published", lambda name, path: "IMAGENET1K_V1")
        theirs = zoo.load("googlenet", str(tmp_path / "w.pth"))
    assert theirs.transform_input
    plain = zoo.preprocess("googlenet", loaded, __file__, SIZE, [])
    said = zoo.preprocess("googlenet", loaded, __file__, SIZE, ["mean=0.5", "std=0.5"])
    a, b = (torch.from_numpy(prepare(read_image(PICTURE), spec)[0]) for spec in (plain, said))
    with torch.no_grad():
        torch.testing.assert_close(theirs(a), loaded(b), rtol=1e-4, atol=1e-4)


def test_options_without_meaning(live: Any, tmp_path: Path) -> None:
    torch.save(live.state_dict(), tmp_path / "w.pth")
    arguments = ("torchvision:mobilenet_v3_small", str(tmp_path / "w.pth"))
    with pytest.raises(SourceError, match="nms_threshold= has no meaning here: a classifier's box is the whole image"):
        source.load(Request(arguments, nms_threshold=0.5), lambda step: None)
    with pytest.raises(SourceError, match='targets="x1" has no meaning here'):
        boxcam.export(*arguments, output=tmp_path / "b", shape=SIZE, targets=["all", "x1"])
    assert not (tmp_path / "b").exists()
    with pytest.raises(SourceError, match="there are 3 class names, and this mobilenet_v3_small has 12"):
        source.load(Request(arguments, SIZE, class_names=["a", "b", "c"]), lambda step: None)
    with pytest.raises(SourceError, match="scores= has no meaning"):
        boxcam.export(*arguments, output=tmp_path / "b", scores="logits")
    with pytest.raises(boxcam.BoxcamError, match=r"no layer 'layer9'.*features"):
        boxcam.export(*arguments, output=tmp_path / "b", shape=SIZE, layers=["features", "layer9"])
    with pytest.raises(SourceError, match="does not fit torchvision's resnet18"):
        source.load(Request(("torchvision:resnet18", arguments[1])), lambda step: None)
