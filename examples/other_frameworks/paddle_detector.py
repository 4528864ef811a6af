"""Explain detectors of PaddleDetection, and compare with the live model: its own boxes, and gradients by Paddle.

The models are made from PaddleDetection's configs, which a checkout of it has, and exported by paddle2onnx.  The
weights are random, so boxes and heatmaps mean nothing; they have to be equal all the same.

What paddle2onnx has no operator for is written by others while the model is exported (`standard_operators`): anchors of
SSD, which are constants for one size, and the proposals of R-CNNs.  The live model keeps Paddle's own.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import fixture
import numpy as np
import onnx
import paddle
import paddle2onnx
import yaml
from comparison import PICTURES, Array, Explained, apart, explained, other_rows
from fixture import PICTURE
from paddle.static import InputSpec
from ppdet.core.workspace import create, global_config, load_config, merge_config
from ppdet.engine.trainer import _prune_input_spec
from ppdet.modeling import ops
from ppdet.modeling.backbones import vgg
from ppdet.modeling.bbox_utils import delta2bbox
from ppdet.modeling.heads import retina_head

import boxcam
from boxcam.export.preprocessing import parse
from boxcam.runtime.images import read_image
from boxcam.runtime.preprocess import prepare

FAR, MOST = 2000, 5000  # pixels between the boxes of two classes; boxes that enter a suppression
LOWEST = 1e6  # less than the negative of this no logit is
TIES = 20  # one proposal in so many, and at least one, may be another: of two that suppress each other, or at the cut
PIXELS = 0.1  # how far apart the sides of the same box are
SAME = 0.01  # how far apart tensors of both are, as a share of the largest number, if they are the same
CLOSE = 2e-5  # how close the gradients that are kept have to be
_PIXELS = ["paddle", "mean=0", "std=1"]  # PP-YOLOE+
_FACES = ["resize=stretch", "scale=0-255", "color=RGB", "mean=123,117,104", "std=127.502231"]
_SMALL = ["paddle", "interpolation=bilinear"]


@dataclass(frozen=True)
class Model:
    """A detector of PaddleDetection.

    Attributes:
        title: its name.
        config: its file, below configs.
        size: height and width of the input.
        preprocess: as its config says; pictures of all are stretched here.
        head: what makes class logits and boxes of the layer.
        scores, boxes: the last convolutions or matrices of the head, by their names there, or how these begin.
        softmax: whether the scores are those of a softmax with a class for nothing, or of sigmoids.
        classes: how many the detector is to know.
        small: what is set in its config for a fixture.
        narrow: how many times fewer channels a fixture's layers have, where these are a multiple of 64.
        small_size: height and width of a fixture's input.
        spread: the least variance that BatchNorm divides by. Many layers in a row that stretch what hardly varies
            stretch rounding too.
    """

    title: str
    config: str
    size: int
    preprocess: list[str]
    head: str
    scores: str
    boxes: str
    softmax: bool
    classes: int = 5
    small: Mapping[str, Any] = field(default_factory=dict)
    narrow: int = 1
    small_size: int = 128
    spread: float = 0.1

    @property
    def two_stages(self) -> bool:
        return "rcnn" in self.config

    @property
    def layer(self) -> str:
        return "roi" if self.two_stages else "neck"

    def as_fixture(self) -> Model:
        """The same with a small input."""
        return replace(self, size=self.small_size)


_RCNN = (192, _SMALL, "bbox_head", "bbox_score", "bbox_delta", True)
_FEW_PIXELS: dict[str, Any] = {  # so that small pictures have proposals on several levels
    "RPNHead": {"anchor_generator": {"anchor_sizes": [[8], [16], [32], [64], [96]]}},
    "BBoxHead": {"roi_extractor": {"canonical_size": 12}},
}
_SLIM = {"width_mult": 0.0625}
MODELS = {
    "ppyoloe_plus_s": Model(
        "PP-YOLOE+ s", "ppyoloe/ppyoloe_plus_crn_s_80e_coco", 192, _PIXELS, "yolo_head", "pred_cls", "pred_reg", False,
        small=_SLIM, small_size=192,
    ),
    "ppyoloe_s": Model(
        "PP-YOLOE s", "ppyoloe/ppyoloe_crn_s_300e_coco", 192, ["paddle"], "yolo_head", "pred_cls", "pred_reg", False,
        small=_SLIM, small_size=192,
    ),
    "blazeface": Model(
        "BlazeFace", "face_detection/blazeface_1000e", 160, _FACES, "blaze_head", "scores", "boxes", True, 1
    ),
    "blazeface_fpn_ssh": Model(
        "BlazeFace FPN-SSH", "face_detection/blazeface_fpn_ssh_1000e", 160, _FACES, "blaze_head", "scores", "boxes",
        True, 1,
    ),
    "ssd_vgg16": Model(
        "SSD VGG16", "ssd/ssd_vgg16_300_240e_voc", 300, _SMALL, "ssd_head", "scores", "boxes", True,
        narrow=32, small_size=300,
    ),
    "ssd_mobilenet_v1": Model(
        "SSD MobileNetV1", "ssd/ssd_mobilenet_v1_300_120e_voc", 300, _SMALL, "ssd_head", "scores", "boxes", True,
        narrow=16, small_size=300, spread=1.0,
    ),
    "retinanet_r50_fpn": Model(
        "RetinaNet R50 FPN", "retinanet/retinanet_r50_fpn_1x_coco", 192, _SMALL, "head", "retina_cls", "retina_reg",
        False, narrow=32, spread=1.0,
    ),
    "faster_rcnn_r50_fpn": Model(
        "Faster R-CNN R50 FPN", "faster_rcnn/faster_rcnn_r50_fpn_1x_coco", *_RCNN, small=_FEW_PIXELS, narrow=32
    ),
    "mask_rcnn_r50_fpn": Model(
        "Mask R-CNN R50 FPN", "mask_rcnn/mask_rcnn_r50_fpn_1x_coco", *_RCNN, small=_FEW_PIXELS, narrow=32
    ),
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=list(MODELS), help=f"of {', '.join(MODELS)} (default: all)")
    parser.add_argument("--configs", type=Path, required=True, help="the folder configs of PaddleDetection")
    parser.add_argument(
        "--raw", action="store_true", help="export detectors of one stage without suppression; boxcam appends it"
    )
    parser.add_argument("--top", type=int, default=20, help="boxes whose gradients are compared (default: 20)")
    parser.add_argument("--seed", type=int, default=0, help="of the weights (default: 0)")
    parser.add_argument(
        "--fixture", type=Path, help="make the models small, and keep file, boxes and gradients in this folder"
    )
    parser.add_argument("-o", "--output", type=Path, default=Path("paddle"), help="folder to write into")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    paddle.set_device("cpu")
    for name in arguments.models:
        compare(name, arguments)


def compare(name: str, arguments: argparse.Namespace) -> None:
    """Export a model, explain a picture, and print how far boxcam is from the live model."""
    paddle.seed(arguments.seed)
    kept = arguments.fixture is not None
    about = MODELS[name].as_fixture() if kept else MODELS[name]
    with narrowed(about.narrow if kept else 1):
        model = made(about, arguments.configs, about.small if kept else {})
    spec = parse.parse(about.preprocess, (1, 3, about.size, about.size), None, (about.size, about.size))
    enliven(model, about, np.concatenate([prepare(read_image(path), spec)[0] for path in PICTURES]))
    file, bundle = arguments.output / f"{name}.onnx", arguments.output / f"{name}.boxcam"
    picture = arguments.fixture / PICTURE if kept else PICTURES[0]
    raw = arguments.raw and not about.two_stages
    export(model, about, file, raw)
    before = before_pooling(file) if about.two_stages else []
    boxcam.export(
        file,
        output=bundle,
        preprocess=about.preprocess,
        layers=[about.layer, *before],
        sample=picture,
        engine="onnx",
        overwrite=True,
        **(left_out(suppression(model, about).nms, about) if raw else {}),
    )
    most = MOST if kept else arguments.top  # of which those that depend on a layer are kept
    found = {layer: explained(bundle, picture, layer, most) for layer in (about.layer, *before)}
    rois = found[about.layer].rois  # proposals, which other layers do not come with
    found = {layer: replace(explanation, rois=rois) for layer, explanation in found.items()}
    image = found[about.layer].input
    boxes = model(inputs(image))["bbox"].numpy()  # class, score, box
    pairs, difference = pair(boxes, bundle, picture)
    if not pairs:
        raise SystemExit(f"none of {len(boxes)} boxes of the live model is among boxcam's")
    print(f"{name:20} {len(pairs)} boxes of {len(boxes)} found, at most {difference:.1e} pixels apart", flush=True)
    gradients = {}
    for layer, explanation in found.items():
        expected, worst, apart_by = expected_gradients(
            model, about, explanation, boxes, pairs, own=kept, most=arguments.top
        )
        if not expected:
            print(f"{'':20} layer {layer}: no box depends on it", flush=True)
            continue
        gradients[layer] = expected
        sizes = ", ".join("x".join(str(n) for n in array.shape[1:]) for array in explanation.features)
        print(
            f"{'':20} layer {layer} ({sizes}) within {apart_by:.1e}, gradients of {len(gradients[layer])} boxes within"
            f" {worst:.1e}",
            flush=True,
        )
        if kept and worst > CLOSE:
            raise SystemExit(f"{name}: a fixture has to be closer than {CLOSE}; a --seed without kinks may be")
    if kept:
        scores = found[about.layer].detections.scores
        difference = max(abs(float(scores[mine] - boxes[theirs, 1])) for mine, theirs in pairs)
        if len(pairs) < len(boxes):
            raise SystemExit(f"{name}: boxcam lacks {len(boxes) - len(pairs)} boxes of the live model")
        if difference > CLOSE:
            raise SystemExit(f"{name}: scores are {difference:.1e} apart; a fixture needs {CLOSE}: try another --seed")
        height, width_ = read_image(picture).shape[:2]
        scale = np.array([width_, height, width_, height]) / about.size
        manifest = boxcam.load(bundle).manifest
        fixture.write(
            arguments.fixture,
            f"paddle_{name}",
            file,
            fixture.About(
                f"PaddleDetection: {about.title}",
                f"paddlepaddle {paddle.__version__}, paddle2onnx {paddle2onnx.__version__}",
                {"preprocess": about.preprocess},
                {layer.name: layer.gradients[0].form for layer in manifest.layers if layer.name in gradients},
            ),
            fixture.Truth(boxes[:, 2:] * scale, boxes[:, 1], boxes[:, 0], gradients),
        )


def expected_gradients(
    model: Any, about: Model, found: Explained, boxes: Array, pairs: Sequence[tuple[int, int]], own: bool, most: int
) -> tuple[dict[int, list[Array]], float, float]:
    """The live model's gradients of boxes that depend on a layer.

    Args:
        model: the live one.
        about: what it is.
        found: boxcam's explanation.
        boxes: the live model's.
        pairs: boxcam's boxes and the live model's.
        own: whether the live model computes the layer itself, and does not go on with boxcam's numbers.
        most: boxes to compare.

    Returns:
        By the live model's box, the gradients by the layer's tensors, [C, H, W]; how far boxcam's are from them; how
        far the layer's tensors are.
    """
    features, rows, difference = run(model, about, found, own)
    probabilities = paddle.nn.functional.softmax(rows) if about.softmax else paddle.nn.functional.sigmoid(rows)
    errors, result = [], {}
    for mine, theirs in ((mine, theirs) for mine, theirs in pairs if mine < len(found.gradients)):
        if len(errors) == most:
            break
        label, score = int(boxes[theirs, 0]), boxes[theirs, 1]
        gaps = np.abs(probabilities.numpy()[:, label] - score)
        # Several may have this score but for rounding: of proposals it is known which, and another one of a map would
        # have its gradient elsewhere.
        alike = [int(found.origins[mine][1])] if about.two_stages else np.flatnonzero(gaps < 1e-5)
        if not len(alike) or gaps[alike].max() > 1e-3:
            raise SystemExit(f"box {mine} has the score {score:.4f}, which the live model gives to no such place")
        tried = []
        for place in alike:
            arrays = gradient_of(rows[int(place), label], features)
            pooled = about.two_stages and len(features[0]) > 1
            row = int(place) if pooled else 0
            if (pooled and found.rows[mine] != row) or any(np.delete(array, row, 0).any() for array in arrays):
                raise SystemExit(f"box {mine} is of the proposal {row}, and boxcam explains {found.rows[mine]}")
            tried.append([array[row] for array in arrays])
        if not any(array.any() for array in (*tried[0], *found.gradients[mine])):
            continue  # of another level
        error, best = min((apart(found.gradients[mine], arrays), number) for number, arrays in enumerate(tried))
        errors.append(error)
        result[theirs] = tried[best]
    return result, max(errors, default=0.0), difference


def gradient_of(logit: paddle.Tensor, features: list[paddle.Tensor]) -> list[Array]:
    """The gradient of a number by each of some tensors."""
    found = paddle.grad(logit, features, retain_graph=True, allow_unused=True)
    return [
        np.zeros(tuple(feature.shape), np.float32) if gradient is None else gradient.numpy()
        for gradient, feature in zip(found, features, strict=True)
    ]


def before_pooling(file: Path) -> list[str]:
    """Tensors of a two-stage detector before RoIAlign: the neck's maps, and the last one of the backbone."""
    graph = onnx.load(file).graph
    maker = {name: node for node in graph.node for name in node.output}
    pooled = [node.input[0] for node in graph.node if node.op_type == "RoiAlign"]
    backbone, todo, seen = "", [pooled[-1]], set()
    while todo:  # the first map upwards that a ReLU gives: the neck has none
        name = todo.pop()
        node = maker.get(name)
        if node is None or name in seen:
            continue
        seen.add(name)
        if node.op_type == "Relu":
            backbone = backbone or name
        else:
            todo += reversed(node.input)
    return [*dict.fromkeys(pooled), backbone]


@contextmanager
def narrowed(times: int) -> Iterator[None]:
    """Layers that are made within it have so many times fewer channels, where their number is a multiple of 64."""
    kinds = [paddle.nn.Conv2D, paddle.nn.Conv2DTranspose, paddle.nn.BatchNorm2D, paddle.nn.Linear, vgg.L2NormScale]
    kept = [kind.__init__ for kind in kinds]

    def fewer(value: Any) -> Any:
        return value // times if isinstance(value, int) and value % 64 == 0 else value

    def thin(of: Callable[..., None]) -> Callable[..., None]:
        def __init__(self: Any, *args: Any, **named: Any) -> None:
            channels = {key: fewer(value) for key, value in named.items() if key in _CHANNELS}
            of(self, *map(fewer, args[:2]), *args[2:], **{**named, **channels})

        return __init__

    for kind in kinds:
        kind.__init__ = thin(kind.__init__)
    try:
        yield
    finally:
        for kind, own in zip(kinds, kept, strict=True):
            kind.__init__ = own


_CHANNELS = {"in_channels", "out_channels", "num_features", "in_features", "out_features", "num_channels", "groups"}


def made(about: Model, configs: Path, changed: Mapping[str, Any]) -> Any:
    """A live model, as its config has it; without the data sets and learning rates that configs name too.

    Args:
        about: which one.
        configs: PaddleDetection's.
        changed: what is set otherwise.
    """
    path = configs.resolve() / f"{about.config}.yml"
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    bases = [base for base in config["_BASE_"] if "datasets" not in base and "optimizer" not in base]
    config["_BASE_"] = [str(path.parent / base) for base in bases]
    config["num_classes"] = about.classes
    with tempfile.TemporaryDirectory() as folder, own_config():
        kept = Path(folder) / path.name
        kept.write_text(yaml.safe_dump(config), encoding="utf-8")
        loaded = load_config(str(kept))
        merge_config({"norm_type": "bn", "eval_size": [about.size, about.size], "export_onnx": False, **changed})
        model = create(loaded.architecture)
    if about.two_stages:
        model.rpn_head.test_proposal.post_nms_top_n = 100  # the first stage of a random model proposes whatever it may
    model.eval()
    return model


@contextmanager
def own_config() -> Iterator[None]:
    """What is read into PaddleDetection's one configuration of a process is forgotten afterwards."""
    kept = {
        key: copy.deepcopy(dict(value)) if isinstance(value, dict) else value for key, value in global_config.items()
    }
    try:
        yield
    finally:
        for key, value in list(global_config.items()):
            if key not in kept:
                del global_config[key]
            elif isinstance(value, dict):
                value.clear()
                value.update(kept[key])
            else:
                global_config[key] = kept[key]


def inputs(images: Array) -> dict[str, paddle.Tensor]:
    """What a model of PaddleDetection reads: pictures that fill the canvas."""
    count, _, height, width = images.shape
    return {
        "image": paddle.to_tensor(images),
        "im_shape": paddle.to_tensor([[height, width]] * count, dtype="float32"),
        "scale_factor": paddle.to_tensor([[1, 1]] * count, dtype="float32"),
    }


def last(model: Any, about: Model, name: str) -> list[Any]:
    """The last layers of a head, by the beginning of their names: of a list or a block, its last part with weights."""
    head = getattr(model, about.head)
    found = []
    for key, layer in head.named_children():
        if key.startswith(name):
            parts = layer if isinstance(layer, paddle.nn.LayerList) else [layer]
            found += [
                [one for one in part.sublayers(include_self=True) if hasattr(one, "weight")][-1] for part in parts
            ]
    return found


def enliven(model: Any, about: Model, images: Array) -> None:
    """Draw the weights, fit BatchNorm to pictures, and give the classes of some boxes a score."""
    for layer in model.sublayers():
        if isinstance(layer, (paddle.nn.Conv2D, paddle.nn.Linear)) and not layer.weight.stop_gradient:
            inner = np.prod(layer.weight.shape[1:] if isinstance(layer, paddle.nn.Conv2D) else layer.weight.shape[:1])
            layer.weight.set_value(paddle.randn(layer.weight.shape) * float(np.sqrt(2 / inner)))
    norms = [layer for layer in model.sublayers() if isinstance(layer, (paddle.nn.BatchNorm2D, paddle.nn.BatchNorm))]
    with paddle.no_grad():
        for norm in norms:
            norm._momentum, norm._use_global_stats = 0.0, False
            norm.train()
        model(inputs(images))
        for norm in norms:
            norm._use_global_stats = None
            norm._variance.set_value(
                paddle.clip(norm._variance, min=about.spread)
            )  # three pictures tell little of single cells
            norm.eval()
        if about.two_stages:
            scaled(model, [model.rpn_head.rpn_rois_delta], images, 0.3)
            scaled(model, [model.rpn_head.rpn_rois_score], images, 2)
        scaled(model, last(model, about, about.boxes), images, 0.5)
        layers = last(model, about, about.scores)
        given = scaled(model, layers, images, 3)
        best = rows_of(given, about)
        best = best[:, :-1].max(1) - best[:, -1] if about.softmax else best.max(1)
        shift = -float(np.sort(best.numpy())[-50])  # some are as likely as nothing
        for layer in layers:
            bias = np.zeros((int(np.prod(layer.bias.shape)) // width(about), width(about)), np.float32)
            bias[:, slice(-1, None) if about.softmax else slice(None)] = -shift if about.softmax else shift
            layer.bias.set_value(paddle.to_tensor(bias.ravel()))


def scaled(model: Any, layers: list[Any], images: Array, deviation: float) -> list[paddle.Tensor]:
    """Scale the weights of layers, so that what they give varies so much around 0; returns what they give then."""
    for layer in layers:
        layer.bias.set_value(paddle.zeros_like(layer.bias))
    with captured(layers) as given:
        model(inputs(images))
    spread = float(np.std(np.concatenate([array.numpy().ravel() for array in given])))
    for layer in layers:
        layer.weight.set_value(layer.weight * (deviation / spread))
    return [array * (deviation / spread) for array in given]


def width(about: Model) -> int:
    """How many scores there are for each box."""
    return about.classes + about.softmax


def rows_of(logits: list[paddle.Tensor], about: Model) -> paddle.Tensor:
    """Class logits as the head gives them, of maps or of proposals, as [N, C]."""
    last = [one.transpose([0, 2, 3, 1]) if one.ndim == 4 else one for one in logits]
    return paddle.concat([one.reshape([-1, width(about)]) for one in last])


@contextmanager
def captured(layers: list[Any]) -> Iterator[list[Any]]:
    """What layers give, in the order in which they give it."""
    given: list[Any] = []
    handles = [layer.register_forward_post_hook(lambda layer, read, gives: given.append(gives)) for layer in layers]
    try:
        yield given
    finally:
        for handle in handles:
            handle.remove()


def run(model: Any, about: Model, found: Explained, own: bool) -> tuple[list[paddle.Tensor], paddle.Tensor, float]:
    """Run the live model, and hold on to a layer's tensors: what its layers give, or its head
    reads, in which boxcam's are found.

    A two-stage model gets boxcam's proposals, which have to be its own but for rounding, order and ties.

    Args:
        model: the live one.
        about: what it is.
        found: boxcam's explanation.
        own: False: the model goes on with boxcam's numbers instead. Rounded in another way, they would have a slightly
            other gradient.

    Returns:
        The tensors to differentiate by; the class logits, [N, C]; how far the live model's own features are from
        boxcam's, as a share of the largest number.
    """
    held: dict[int, paddle.Tensor] = {}
    differences = [np.inf] * len(found.features)

    def given(value: Any) -> Any:
        if isinstance(value, list):
            return [given(one) for one in value]
        if not isinstance(value, paddle.Tensor):
            return value
        for number, mine in enumerate(found.features):
            if number in held or tuple(value.shape) != mine.shape:
                continue
            apart_by = float(np.abs(value.numpy() - mine).max() / np.abs(mine).max())
            differences[number] = min(differences[number], apart_by)
            if apart_by < SAME:
                held[number] = paddle.to_tensor(value.numpy() if own else mine, stop_gradient=False)
                return held[number]
        return value

    if found.rois is not None:
        others = other_rows(found.rois, proposals_of(model, found.input), PIXELS)
        if others > max(len(found.rois) // TIES, 1):
            raise SystemExit(f"{others} of boxcam's {len(found.rois)} proposals are others than the live model's")
        if others:
            print(f"{'':20} {others} of {len(found.rois)} proposals are others: ties in rounding", flush=True)
    head = getattr(model, about.head)
    parts = [layer for layer in model.sublayers() if layer is not head]
    handles = [layer.register_forward_post_hook(lambda layer, read, gives: given(gives)) for layer in parts]
    # Of maps that a function gave, and no layer, the head is the only reader that matters.
    handles.append(head.register_forward_pre_hook(lambda layer, read: (given(read[0]), *read[1:])))
    if found.rois is not None:
        rois = [paddle.to_tensor(found.rois)]
        handles.append(model.rpn_head.register_forward_post_hook(lambda layer, read, gives: (rois, *gives[1:])))
    image = inputs(found.input)
    image["image"].stop_gradient = False  # also where the weights of the first layers are not to be trained
    with captured(last(model, about, about.scores)) as logits:
        model(image)
    for handle in handles:
        handle.remove()
    if len(held) < len(found.features):
        raise SystemExit(f"the live model has nothing like boxcam's {[list(f.shape) for f in found.features]}")
    return [held[number] for number in range(len(held))], rows_of(logits, about), max(differences)


def pair(boxes: Array, bundle: Path, picture: Path) -> tuple[list[tuple[int, int]], float]:
    """Boxes of both, each once, by class, score and place on the input, and how far they are apart at most.

    Args:
        boxes: [K, 6], the live model's: class, score, x1 y1 x2 y2 in pixels of the input.
        bundle: boxcam's.
        picture: which both have seen.
    """
    model = boxcam.load(bundle, threads=1)
    prediction = model.runtime.predict(read_image(picture))
    mine = prediction.outputs[model.manifest.outputs.boxes].reshape(-1, 4)[prediction.rows]
    left = np.ones(len(boxes), bool)
    pairs, worst = [], 0.0
    for number, (box, label, score) in enumerate(
        zip(mine, prediction.detections.labels, prediction.detections.scores, strict=True)
    ):
        apart_by = np.abs(boxes[:, 2:] - box).max(1) + 1e6 * (boxes[:, 0] != label) + 100 * np.abs(boxes[:, 1] - score)
        best = int(np.where(left, apart_by, np.inf).argmin())
        if left[best] and apart_by[best] < PIXELS:
            left[best] = False
            pairs.append((number, best))
            worst = max(worst, float(np.abs(boxes[best, 2:] - box).max()))
    return pairs, worst


def proposals_of(model: Any, image: Array) -> Array:
    """The live model's proposals, [R, 4]."""
    with captured([model.rpn_head]) as given:
        model(inputs(image))
    boxes, _, _ = given[0]
    return paddle.concat(boxes).numpy()


def suppression(model: Any, about: Model) -> Any:
    """What has the suppression of a model, as its attribute ``nms``."""
    if about.two_stages:
        return model.bbox_post_process
    return model.post_process if about.softmax else getattr(model, about.head)


def left_out(nms: Any, about: Model) -> dict[str, Any]:
    """The options of `boxcam.export` that say what PaddleDetection's suppression would have done."""
    found = {"nms_threshold": nms.nms_threshold, "score_threshold": nms.score_threshold}
    return {**found, "background": "last"} if about.softmax else found


def export(model: Any, about: Model, file: Path, raw: bool) -> None:
    """Write a model as ONNX: by Paddle a static graph, and by paddle2onnx of that an ONNX file.

    Args:
        model: the live one; it stays as it is.
        about: what it is.
        file: to write.
        raw: whether to leave out the suppression: the outputs are boxes [1, N, 4] and scores [1, C, N].
    """
    deployed = copy.deepcopy(model)
    if raw:
        suppression(deployed, about).nms = lambda boxes, scores, *background: (boxes, scores, None)
    for layer in deployed.sublayers():
        if hasattr(layer, "convert_to_deploy"):
            layer.convert_to_deploy()
    shapes = {"image": [1, 3, about.size, about.size], "im_shape": [1, 2], "scale_factor": [1, 2]}
    with tempfile.TemporaryDirectory() as folder, standard_operators(deployed, about):
        described = [{name: InputSpec(shape, "float32", name) for name, shape in shapes.items()}]
        static = paddle.jit.to_static(deployed, input_spec=described, full_graph=True)
        read = _prune_input_spec(described, static.forward.main_program, static.forward.outputs)
        paddle.jit.save(static, f"{folder}/model", input_spec=read)
        paths = [f"{folder}/model.{ending}" for ending in ("json", "pdiparams")]
        paddle2onnx.export(*paths, str(file), opset_version=16, optimize_tool="none")
    written = onnx.load(file)
    for node in written.graph.node:
        if node.op_type == "RoiAlign":  # which is half a pixel aside if nothing is said, and paddle2onnx says nothing
            node.attribute.append(onnx.helper.make_attribute("coordinate_transformation_mode", "output_half_pixel"))
    onnx.save(written, file)


@contextmanager
def standard_operators(model: Any, about: Model) -> Iterator[None]:
    """Write what paddle2onnx cannot write, or writes wrongly, by other operators."""
    head, concat, vision = getattr(model, about.head), paddle.concat, paddle.vision.ops
    kept = vision.generate_proposals, vision.distribute_fpn_proposals, paddle.broadcast_tensors, paddle.stack
    paddle.stack = stacked
    if about.softmax and not about.two_stages:  # prior_box
        head.anchor_generator = Anchors(head.anchor_generator)
        model(inputs(np.zeros((1, 3, about.size, about.size), np.float32)))
    if about.config.startswith("retinanet"):  # a list turned around, and axes that are only known to be of one
        head.get_bboxes_single = partial(head.get_bboxes_single, rescale=False)
        retina_head.delta2bbox = lambda *given: delta2bbox(*given).reshape([-1, 4])
    if about.two_stages:
        for part in (model.rpn_head, model.bbox_post_process, model.bbox_post_process.decode):
            part.export_onnx = True  # without loops, as PaddleDetection says
        if hasattr(model, "mask_post_process"):
            model.mask_post_process.export_onnx = model.mask_head.export_onnx = True
            paddle.broadcast_tensors = lambda values: values  # of the masks' indices, which are as long as each other
        # PaddleDetection reckons with numbers that are lists of one, as they were in Paddle before 2.5.
        model.rpn_head.register_forward_post_hook(
            lambda layer, read, gives: (gives[0], gives[1].reshape([1]), gives[2])
        )
        paddle.concat = lambda x, axis=0, name=None: concat(
            [one.reshape([1]) if not one.shape else one for one in x], axis
        )
        vision.generate_proposals, vision.distribute_fpn_proposals = proposals, by_level
        of = suppression(model, about)
        of.nms = partial(suppressed, of.nms)
    try:
        yield
    finally:
        paddle.concat, retina_head.delta2bbox = concat, delta2bbox
        vision.generate_proposals, vision.distribute_fpn_proposals, paddle.broadcast_tensors, paddle.stack = kept


def stacked(x: Sequence[paddle.Tensor], axis: int = 0, name: str | None = None) -> paddle.Tensor:
    """`paddle.stack` of tensors with axes: paddle2onnx takes lists of one for numbers, and then lacks an axis.

    The anchors of a level that has one cell are stacked of such lists.
    """
    return paddle.concat([one.unsqueeze(axis) for one in x], axis)


def listed(value: paddle.Tensor) -> paddle.Tensor:
    """A number as a list of one; what has axes is as it was."""
    return value if value.shape else value.reshape([1])


class Anchors(paddle.nn.Layer):
    """The anchors that a generator makes first, from then on as constants."""

    def __init__(self, generator: Callable[..., list[paddle.Tensor]]) -> None:
        super().__init__()
        self.generator, self.count = generator, 0

    def forward(self, maps: list[paddle.Tensor], image: paddle.Tensor) -> list[paddle.Tensor]:
        if not self.count:
            for number, anchors in enumerate(self.generator(maps, image)):
                self.register_buffer(f"anchors_{number}", anchors.detach())
                self.count = number + 1
        return [getattr(self, f"anchors_{number}") for number in range(self.count)]


def proposals(
    scores: paddle.Tensor,
    bbox_deltas: paddle.Tensor,
    img_size: paddle.Tensor,
    anchors: paddle.Tensor,
    variances: paddle.Tensor,
    pre_nms_top_n: int,
    post_nms_top_n: int,
    nms_thresh: float,
    min_size: float,
    **others: Any,
) -> tuple[paddle.Tensor, paddle.Tensor, paddle.Tensor]:
    """`paddle.vision.ops.generate_proposals` for one image and variances of 1, by other operators.

    Args:
        scores, bbox_deltas: [1, A, H, W] and [1, 4A, H, W].
        img_size: [1, 2], height and width.
        anchors, variances: [H, W, A, 4].
        pre_nms_top_n, post_nms_top_n, nms_thresh, min_size: as Paddle has them.
        others: not read; there is nothing else that PaddleDetection sets.

    Returns:
        Boxes [R, 4], their scores [R, 1], and R as a list of one.
    """
    score = scores.transpose([0, 2, 3, 1]).reshape([-1])
    delta, anchor = bbox_deltas.transpose([0, 2, 3, 1]).reshape([-1, 4]), anchors.reshape([-1, 4])
    count = min(pre_nms_top_n, int(np.prod(scores.shape)))
    score, order = paddle.topk(score, count)
    delta, anchor = paddle.gather(delta, order), paddle.gather(anchor, order)
    size = anchor[:, 2:] - anchor[:, :2]
    center = anchor[:, :2] + size / 2 + delta[:, :2] * size
    size = size * paddle.exp(paddle.clip(delta[:, 2:], max=float(np.log(1000 / 16))))
    limit = paddle.concat([img_size[:, 1:2], img_size[:, 0:1]], axis=1)
    corners = [paddle.minimum(paddle.clip(center + side * size / 2, min=0.0), limit) for side in (-1, 1)]
    kept = ((corners[1] - corners[0]) >= max(min_size, 1.0)).astype("float32").min(axis=1)
    found, number, _ = ops.multiclass_nms(
        paddle.concat(corners, axis=1).unsqueeze(0),
        (score * kept + (kept - 1) * LOWEST).unsqueeze([0, 1]),  # logits
        score_threshold=-LOWEST / 2,
        nms_top_k=count,
        keep_top_k=post_nms_top_n,
        nms_threshold=nms_thresh,
    )
    return found[:, 2:], found[:, 1:2], number


def by_level(
    fpn_rois: paddle.Tensor, min_level: int, max_level: int, refer_level: int, refer_scale: int, **others: Any
) -> tuple[list[paddle.Tensor], paddle.Tensor, list[paddle.Tensor]]:
    """`paddle.vision.ops.distribute_fpn_proposals` for one image, by other operators.

    Returns:
        The boxes of each level; where each box is, if they are put one after another; how many there are of each level.
    """
    size = paddle.sqrt((fpn_rois[:, 2] - fpn_rois[:, 0]) * (fpn_rois[:, 3] - fpn_rois[:, 1]))
    level = paddle.floor(paddle.log2(size / refer_scale + 1e-8) + refer_level)
    level = paddle.clip(level, min=float(min_level), max=float(max_level))
    rows = [paddle.nonzero(level == float(number)).reshape([-1]) for number in range(min_level, max_level + 1)]
    boxes = [paddle.gather(fpn_rois, row) for row in rows]
    counts = [paddle.shape(row)[0:1].astype("int32") for row in rows]
    return boxes, paddle.argsort(paddle.concat(rows)), counts


def suppressed(
    nms: Any, boxes: tuple[paddle.Tensor, paddle.Tensor], scores: paddle.Tensor, background: int
) -> tuple[paddle.Tensor, paddle.Tensor, paddle.Tensor]:
    """What PaddleDetection's suppression of an R-CNN finds in one image, by a suppression of one class.

    Args:
        nms: PaddleDetection's, for its settings.
        boxes: [R, C, 4], of each proposal and class; and R.
        scores: [R, C].
        background: not read; its scores are left out already.

    Returns:
        [K, 6], class, score and box; K as a list of one; where they were.
    """
    label = (paddle.zeros_like(scores) + paddle.arange(scores.shape[1], dtype="float32")).reshape([-1])
    flat = boxes[0].reshape([-1, 4])
    _, number, index = ops.multiclass_nms(
        (flat + label.unsqueeze(1) * FAR).unsqueeze(0),  # boxes of different classes never overlap
        scores.reshape([1, 1, -1]),
        nms.score_threshold,
        nms_top_k=MOST,
        keep_top_k=nms.keep_top_k,
        nms_threshold=nms.nms_threshold,
        return_index=True,
    )
    index = index.reshape([-1])
    columns = [paddle.gather(of, index).unsqueeze(1) for of in (label, scores.reshape([-1]))]
    return paddle.concat([*columns, paddle.gather(flat, index)], axis=1), number, index


if __name__ == "__main__":
    main()
