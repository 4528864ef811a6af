"""Inputs as people deploy them: batches, names of axes, further inputs, old opsets, stale shapes, other outputs."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper

import boxcam
from boxcam.cli import main
from boxcam.errors import BoxcamError, BoxcamWarning, SourceError
from tests.export.sources.onnx.plain import CHANNELS, CLASSES, SIZE, Plain, check, export, outputs, pixels, tensor
from tests.messages import check_message

IMAGE = pixels()
LAYOUTS: dict[str, tuple[list[Any], bool]] = {
    "names of channels": (["batch", "channels", "height", "width"], False),
    "camel case": (["batchSize", "numChannels", "imageHeight", "imageWidth"], False),
    "letters": (["N", "C", "H", "W"], False),
    "letters, colours last": (["n", "h", "w", "c"], True),
    "sides only": (["a", "b", "input_height", "input_width"], False),
    "colours last": (["batch_size", "height", "width", "rgb"], True),
    "minus one": ([-1, 3, SIZE, SIZE], False),
    "minus one everywhere": ([-1, 3, -1, -1], False),
    "no names": ([None, 3, None, None], False),
    "zero": ([0, 3, SIZE, SIZE], False),
}


@pytest.mark.parametrize("case", LAYOUTS)
def test_the_layout_is_read_off_the_names_of_the_axes(case: str, tmp_path: Path) -> None:
    shape, last = LAYOUTS[case]
    net = Plain(shape, last=last)
    net.logits()
    model = export(net.save(tmp_path / "m.onnx"), shape=(SIZE, SIZE))
    assert model.manifest.preprocess.layout == ("NHWC" if last else "NCHW")
    check(model, tensor(IMAGE), net, IMAGE)


@pytest.mark.parametrize("shape", [("n", "a", "b", "c"), ("n", "channels", "width", "channels")])
def test_names_that_do_not_tell_are_asked_for(shape: tuple[str, ...], tmp_path: Path) -> None:
    net = Plain(shape)
    net.logits()
    with pytest.raises(SourceError, match="does not tell which axis holds the colours") as caught:
        export(net.save(tmp_path / "m.onnx"), shape=(SIZE, SIZE))
    check_message(str(caught.value))
    model = export(net.save(tmp_path / "m.onnx"), shape=(SIZE, SIZE), preprocess=(*PRE, "layout=NCHW"))
    check(model, tensor(IMAGE), net, IMAGE)


PRE = ("resize=stretch", "scale=0-1", "color=RGB")
BATCHES: dict[str, Callable[[Plain, str], str]] = {
    "plain": lambda net, found: net.node(
        "MatMul", [net.Flatten(net.GlobalAveragePool(found)), net.matrix], name="logits"
    )[0],
    "reshaped with the batch": lambda net, found: net.node(
        "MatMul", [net.Reshape(net.GlobalAveragePool(found), np.array([4, CHANNELS])), net.matrix], name="logits"
    )[0],
    "the batch in the middle": lambda net, found: net.node(
        "MatMul",
        [
            net.ReduceMean(
                net.Transpose(  # [cells, batch, channels], with the batch in the target of a Reshape
                    net.Reshape(
                        net.Transpose(net.Reshape(found, np.array([4, CHANNELS, 64])), perm=[2, 0, 1]),
                        np.array([64, 4 * 2, CHANNELS // 2]),
                    ),
                    perm=[1, 2, 0],
                ),
                np.array([2]),
                keepdims=0,
            ),
            np.zeros((CHANNELS // 2, CHANNELS)),
        ],
    )[0],
    "a constant of each image": lambda net, found: net.node(
        "MatMul",
        [
            net.Flatten(net.GlobalAveragePool(net.Add(found, np.zeros((4, CHANNELS, 1, 1))))),
            net.matrix,
        ],
        name="logits",
    )[0],
    "resized with the batch": lambda net, found: net.node(
        "MatMul",
        [
            net.Flatten(
                net.GlobalAveragePool(
                    net.node(
                        "Resize",
                        [found, None, None, np.array([4, CHANNELS, 16, 16])],
                        mode="nearest",
                        coordinate_transformation_mode="asymmetric",
                        nearest_mode="floor",
                    )[0]
                )
            ),
            net.matrix,
        ],
        name="logits",
    )[0],
}


@pytest.mark.parametrize("case", [name for name in BATCHES if "middle" not in name])
def test_of_a_fixed_batch_the_first_image_is_explained(case: str, tmp_path: Path) -> None:
    net = Plain((4, 3, SIZE, SIZE))
    BATCHES[case](net, net.map())
    path = net.save(tmp_path / "m.onnx")
    (logits,) = outputs(path, image=np.repeat(tensor(IMAGE), 4, axis=0))
    assert logits.shape == (4, CLASSES)
    model = export(path, layers=["seen"])
    explanation = check(model, tensor(IMAGE), net, IMAGE)
    assert explanation.detections.logits[0] == pytest.approx(logits[0].max(), rel=1e-5)
    assert model.manifest.source["inputs"] == "images at once=4"


def test_a_batch_that_is_split_into_heads_is_one_image_too(tmp_path: Path) -> None:
    net = Plain((4, 3, SIZE, SIZE))
    found = net.map()
    cells = net.Transpose(net.Reshape(found, np.array([4, CHANNELS, 64])), perm=[2, 0, 1])  # [cells, batch, channels]
    heads = net.Reshape(cells, np.array([64, 8, CHANNELS // 2]))
    back = net.Reshape(heads, np.array([64, 4, CHANNELS]))
    net.node("MatMul", [net.ReduceMean(back, np.array([0]), keepdims=0), net.matrix], name="logits")
    model = export(net.save(tmp_path / "m.onnx"), layers=["seen"])
    check(model, tensor(IMAGE), net, IMAGE)


@pytest.mark.parametrize("opset", range(7, 18))
@pytest.mark.parametrize("last", [False, True])
def test_every_opset_from_7_on_is_read(opset: int, last: bool, tmp_path: Path) -> None:
    net = Plain((1, SIZE, SIZE, 3) if last else (1, 3, SIZE, SIZE), opset=opset, last=last)
    net.logits()
    path = net.save(tmp_path / "m.onnx", ir_version=4 if opset < 9 else 8)
    model = export(path)
    check(model, tensor(IMAGE), net, IMAGE)
    (logits,) = outputs(path, image=tensor(IMAGE).transpose(0, 2, 3, 1) if last else tensor(IMAGE))
    assert model.detect(IMAGE).logits[0] == pytest.approx(logits.max(), rel=1e-5)


def test_initializers_that_are_inputs_too_are_no_inputs(tmp_path: Path) -> None:
    """As all files up to IR version 3 have them."""
    net = Plain((1, 3, SIZE, SIZE), opset=8)
    net.logits()
    model = helper.make_model(
        net.graph({"logits": TensorProto.FLOAT}), opset_imports=[helper.make_opsetid("", 8)], ir_version=3
    )
    for constant in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(constant.name, constant.data_type, constant.dims))
    onnx.save(model, str(tmp_path / "m.onnx"))
    check(export(tmp_path / "m.onnx"), tensor(IMAGE), net, IMAGE)


def test_an_opset_below_7_is_refused(tmp_path: Path) -> None:
    net = Plain((1, 3, SIZE, SIZE), opset=6)
    net.logits()
    with pytest.raises(BoxcamError, match=r"has opset 6, which is too old. Export it with opset 7 or newer"):
        export(net.save(tmp_path / "m.onnx", ir_version=4))


OLD: dict[str, Callable[[Plain, str], str]] = {
    "Upsample 9": lambda net, read: net.node("Upsample", [read, np.float32([1, 1, 2, 2])], mode="nearest")[0],
    "Upsample 9, linear": lambda net, read: net.node("Upsample", [read, np.float32([1, 1, 2, 2])], mode="linear")[0],
    "Upsample 9, by half": lambda net, read: net.node("Upsample", [read, np.float32([1, 1, 1.5, 1.7])], mode="nearest")[
        0
    ],
    "Upsample 9, linear by half": lambda net, read: net.node(
        "Upsample", [read, np.float32([1, 1, 1.5, 1.7])], mode="linear"
    )[0],
    "Slice 9": lambda net, read: net.Slice(read, starts=[1], ends=[30], axes=[2]),
    "Pad 9": lambda net, read: net.Pad(read, pads=[0, 0, 1, 2, 0, 0, 3, 0], value=0.5),
    "Clip 9": lambda net, read: net.Clip(read, min=0.1, max=0.8),
    "BatchNormalization 9": lambda net, read: net.BatchNormalization(
        read, np.float32([1, 2, 3]), np.float32([0.1, 0, 0]), np.float32([0.2, 0.1, 0]), np.float32([1, 0.5, 2])
    ),
    "Squeeze 9": lambda net, read: net.Squeeze(net.Unsqueeze(read, axes=[0]), axes=[0]),
    "ReduceSum 9": lambda net, read: net.Sub(read, net.ReduceSum(read, axes=[2, 3], keepdims=1)),
    "Softmax 9": lambda net, read: net.Softmax(read, axis=1),
    "Dropout 9": lambda net, read: net.Dropout(read, ratio=0.5),
    "MaxPool 9": lambda net, read: net.MaxPool(read, kernel_shape=[2, 2], strides=[1, 1], pads=[0, 0, 1, 1]),
    "Split 9": lambda net, read: net.Concat(*net.node("Split", [read], 2, axis=1, split=[1, 2]), axis=1),
    "Cast 9": lambda net, read: net.Cast(net.Cast(read, to=TensorProto.DOUBLE), to=TensorProto.FLOAT),
}


@pytest.mark.parametrize("case", OLD)
def test_operators_of_opset_9_keep_their_meaning(case: str, tmp_path: Path) -> None:
    """The scores of the bundle are those that ONNX Runtime gives for the file as it is."""
    net = Plain((1, 3, SIZE, SIZE), opset=9)
    net.logits(net.map(OLD[case](net, net.image)))
    path = net.save(tmp_path / "m.onnx", ir_version=4)
    found = export(path).detect(IMAGE)
    (logits,) = outputs(path, image=tensor(IMAGE))
    expected = np.exp(logits[0] - logits.max()) / np.exp(logits[0] - logits.max()).sum()
    assert np.allclose(found.scores, np.sort(expected)[::-1], atol=1e-5)
    assert np.allclose(found.logits, logits[0][found.labels], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("scale", [0.5, 0.7, 1.5, 3])
def test_the_resize_of_opset_10_keeps_its_meaning(mode: str, scale: float, tmp_path: Path) -> None:
    net = Plain((1, 3, SIZE, SIZE), opset=10)
    net.logits(net.map(net.node("Resize", [net.image, np.float32([1, 1, scale, scale])], mode=mode)[0]))
    path = net.save(tmp_path / "m.onnx", ir_version=5)
    found = export(path).detect(IMAGE)
    (logits,) = outputs(path, image=tensor(IMAGE))
    assert np.allclose(found.logits, logits[0][found.labels], rtol=1e-4, atol=1e-5)


def stale(path: Path, change: Callable[[onnx.GraphProto], None]) -> Plain:
    """A classifier whose file states shapes that are not its own."""
    net = Plain((1, 3, SIZE, SIZE))
    net.logits()
    net.save(path)
    model = onnx.shape_inference.infer_shapes(onnx.load(str(path)))
    change(model.graph)
    onnx.save(model, str(path))
    return net


def _values(graph: onnx.GraphProto, sizes: Callable[[int], int]) -> None:
    for value in graph.value_info:
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            dim.dim_value = sizes(dim.dim_value) if axis > 1 else dim.dim_value


def _output(graph: onnx.GraphProto, *shape: int | str) -> None:
    graph.output[0].CopyFrom(helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape))


STALE: dict[str, Callable[[onnx.GraphProto], None]] = {
    "of another size of the image": lambda graph: _values(graph, lambda size: size * 2 if size > 1 else size),
    "of the output": lambda graph: _output(graph, 1, 80),
    "of the output's rank": lambda graph: _output(graph, 1, 1, CLASSES),
    "of another batch": lambda graph: _output(graph, 16, CLASSES),
    "of both": lambda graph: (_values(graph, lambda size: size + 1), _output(graph, 7, CLASSES))[0],
}


@pytest.mark.parametrize("case", STALE)
def test_stale_shapes_are_forgotten(case: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    net = stale(tmp_path / "m.onnx", STALE[case])
    outputs(tmp_path / "m.onnx", image=tensor(IMAGE))  # ONNX Runtime runs it
    capfd.readouterr()
    check(export(tmp_path / "m.onnx"), tensor(IMAGE), net, IMAGE)
    assert capfd.readouterr().err == ""


def zipmap(path: Path, **labels: Any) -> Plain:
    """A classifier as tools for scikit-learn and Azure's Custom Vision end it: the best class, and a map of all."""
    net = Plain((1, 3, SIZE, SIZE))
    net.node("Softmax", [net.logits()], name="probabilities", axis=1)
    net.node("ArgMax", ["probabilities"], name="label", axis=1, keepdims=0)
    net.nodes.append(helper.make_node("ZipMap", ["probabilities"], ["loss"], domain="ai.onnx.ml", **labels))
    graph = net.graph({"label": TensorProto.INT64})
    kind = TensorProto.INT64 if "classlabels_int64s" in labels else TensorProto.STRING
    value = helper.make_tensor_type_proto(TensorProto.FLOAT, [])
    loss = helper.make_sequence_type_proto(helper.make_map_type_proto(kind, value))
    graph.output.append(helper.make_value_info("loss", loss))
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 1)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=9), str(path))
    return net


def test_behind_a_zipmap_are_the_probabilities_and_their_names(tmp_path: Path) -> None:
    names = ["cat", "dog", "bird", "fish"]
    net = zipmap(tmp_path / "m.onnx", classlabels_strings=names)
    model = export(tmp_path / "m.onnx")
    assert model.names == tuple(names)
    check(model, tensor(IMAGE), net, IMAGE)


def test_numbers_of_a_zipmap_are_names_if_they_do_not_count(tmp_path: Path) -> None:
    net = zipmap(tmp_path / "m.onnx", classlabels_int64s=[3, 5, 7, 9])
    model = export(tmp_path / "m.onnx")
    assert model.names == ("class 3", "class 5", "class 7", "class 9")
    check(model, tensor(IMAGE), net, IMAGE)


def test_sequences_are_left_out(tmp_path: Path) -> None:
    net = Plain((1, 3, SIZE, SIZE))
    logits = net.logits()
    net.node("SplitToSequence", [logits], name="pieces", axis=1)
    net.node("SequenceConstruct", [net.node("Neg", [logits], name="turned")[0]], name="list")
    graph = net.graph({"logits": TensorProto.FLOAT})
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, None))
    graph.output.append(helper.make_value_info("pieces", kind))
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), str(tmp_path / "m.onnx")
    )
    with pytest.warns(BoxcamWarning, match="the output pieces is a sequence, not a tensor, and is left out"):
        model = export(tmp_path / "m.onnx")
    check(model, tensor(IMAGE), net, IMAGE)


def test_a_file_without_any_tensor_is_refused(tmp_path: Path) -> None:
    net = Plain((1, 3, SIZE, SIZE))
    net.node("SplitToSequence", [net.logits()], name="pieces", axis=1)
    graph = net.graph({})
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, None))
    graph.output.append(helper.make_value_info("pieces", kind))
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), str(tmp_path / "m.onnx")
    )
    with pytest.raises(
        SourceError, match=r"outputs no tensor of numbers: 'pieces' is a sequence\. Export it with"
    ) as caught:
        export(tmp_path / "m.onnx")
    check_message(str(caught.value))


def prompted(path: Path, second: tuple[Any, ...] = (1, 8, CHANNELS), kind: int = TensorProto.FLOAT) -> Plain:
    """A classifier whose classes are embeddings of words, [1, classes, channels]."""
    net = Plain(("batch", 3, SIZE, SIZE))
    net.input("words", second, kind)
    read = "words" if kind == TensorProto.FLOAT else net.Cast("words", to=TensorProto.FLOAT)
    pooled = net.Flatten(net.GlobalAveragePool(net.map()))
    net.node("MatMul", [pooled, net.Transpose(net.Squeeze(read, np.array([0])), perm=[1, 0])], name="logits")
    net.save(path)
    return net


def test_embeddings_are_fixed_by_a_file(tmp_path: Path) -> None:
    net = prompted(tmp_path / "m.onnx")
    with pytest.raises(
        SourceError, match=r"several inputs that may be the image: .*words .1, 8, 6.\. Fix all but"
    ) as caught:
        export(tmp_path / "m.onnx")
    check_message(str(caught.value))
    net.matrix = np.random.default_rng(5).normal(0, 2, (CHANNELS, 8)).astype(np.float32)
    np.save(tmp_path / "words.npy", net.matrix.T[None])
    model = export(tmp_path / "m.onnx", inputs=[f"words={tmp_path / 'words.npy'}"])
    check(model, tensor(IMAGE), net, IMAGE)
    assert model.manifest.source["inputs"] == "words=words.npy"
    check(export(tmp_path / "m.onnx", inputs={"words": net.matrix.T[None]}, overwrite=True), tensor(IMAGE), net, IMAGE)


def test_the_command_line_takes_inputs_too(tmp_path: Path) -> None:
    net = prompted(tmp_path / "m.onnx")
    net.matrix = np.random.default_rng(5).normal(0, 2, (CHANNELS, 8)).astype(np.float32)
    np.save(tmp_path / "words.npy", net.matrix.T[None])
    words = [
        str(tmp_path / "m.onnx"),
        "--preprocess",
        "resize=stretch",
        "--preprocess",
        "scale=0-1",
        "--preprocess",
        "color=RGB",
    ]
    done = CliRunner().invoke(main, ["inspect", *words])
    assert done.exit_code == 1
    assert re.search(r"Fix all but the image with --input, such as --input words=words\.npy\.", done.output)
    given = ["--input", f"words={tmp_path / 'words.npy'}"]
    done = CliRunner().invoke(main, ["inspect", *words, *given])
    assert done.exit_code == 0, done.output
    assert f"--input words={tmp_path / 'words.npy'}" in done.output
    done = CliRunner().invoke(main, ["export", *words, *given, "-o", str(tmp_path / "c.boxcam"), "-q"])
    assert done.exit_code == 0, done.output
    check(boxcam.load(tmp_path / "c.boxcam"), tensor(IMAGE), net, IMAGE)


def test_of_two_images_one_is_explained(tmp_path: Path) -> None:
    """The second image is its tensor, as the model takes it; here the map is that of the difference."""
    net = Plain((1, 3, SIZE, SIZE))
    net.input("before", (1, 3, SIZE, SIZE))
    net.logits(net.map(net.Sub("image", "before")))
    before = tensor(pixels(seed=9))
    np.save(tmp_path / "before.npy", before)
    model = export(net.save(tmp_path / "m.onnx"), inputs=[f"before={tmp_path / 'before.npy'}"])
    check(model, tensor(IMAGE) - before, net, IMAGE)


@pytest.mark.parametrize(("value", "expected"), [("0.5", [0.5] * 3), ("1,0.25,0", [1, 0.25, 0])])
def test_numbers_fill_an_input(value: str, expected: list[float], tmp_path: Path) -> None:
    net = Plain((1, 3, SIZE, SIZE))
    net.input("factors", (1, 3, 1, 1))
    net.logits(net.map(net.Mul("image", "factors")))
    given = tensor(IMAGE) * np.float32(expected).reshape(1, 3, 1, 1)
    model = export(net.save(tmp_path / "m.onnx"), inputs={"factors": value})
    check(model, given, net, IMAGE)


def test_the_size_and_a_mask_can_be_given_too(tmp_path: Path) -> None:
    """Inputs that boxcam knows have a value of its own, which what is given overrides."""
    net = Plain((1, 3, SIZE, SIZE))
    net.input("orig_target_sizes", (1, 2), TensorProto.INT64)
    net.input("pixel_mask", ("batch", SIZE, SIZE), TensorProto.INT64)
    scale = net.ReduceMax(net.Cast("orig_target_sizes", to=TensorProto.FLOAT), np.array([1]))
    seen = net.Mul("image", net.Unsqueeze(net.Cast("pixel_mask", to=TensorProto.FLOAT), np.array([1])))
    net.logits(net.map(net.Mul(seen, net.Div(scale, np.float32(SIZE)))))
    path = net.save(tmp_path / "m.onnx")
    check(export(path), tensor(IMAGE), net, IMAGE)
    mask = np.ones((1, SIZE, SIZE), np.int64)
    mask[:, 20:] = 0
    model = export(path, inputs={"pixel_mask": mask, "orig_target_sizes": "64,16"}, overwrite=True)
    check(model, tensor(IMAGE) * mask[:, None].astype(np.float32) * 2, net, IMAGE)


REFUSED: dict[str, tuple[Any, str]] = {
    "no such input": (
        ["word=1"],
        r"no input 'word'. Its inputs are: image \[\?, 3, 32, 32\], words \[1, 8, 6\]\. Pass",
    ),
    "no value": (["words"], "'words' is not NAME=VALUE or NAME=FILE.npy. Pass"),
    "too few numbers": (
        ["words=1,2"],
        r"2 numbers do not fill the input words \[1, 8, 6\]\. Pass 48 of them, one for all",
    ),
    "no numbers": (["words=some text"], "'some text' for the input words is neither numbers, as 640,480, nor the file"),
    "another shape": (
        {"words": np.zeros((1, 8, 5), np.float32)},
        r"the shape \[1, 8, 5\], and the input is words \[1, 8, 6\]",
    ),
    "another rank": ({"words": np.zeros((8, 6), np.float32)}, r"the shape \[8, 6\], and the input is words"),
    "another type": ({"words": np.zeros((1, 8, 6))}, r"is float64, and the input words .* is float32. Convert it with"),
    "no file": (["words=nowhere.npy"], "nowhere.npy does not exist. Check the path"),
    "twice": (["words=1", "words=2"], "the input 'words' is given twice"),
    "the image too": (["words=1", "image=1"], "every input of the model is given .* none is left for the image"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_values_that_do_not_fit_are_refused(case: str, tmp_path: Path) -> None:
    given, message = REFUSED[case]
    prompted(tmp_path / "m.onnx")
    with pytest.raises(SourceError, match=message) as caught:
        export(tmp_path / "m.onnx", inputs=given)
    check_message(str(caught.value))


@pytest.mark.parametrize("value", ["1.5", "-1", "256", "nan"])
def test_whole_numbers_are_checked(value: str, tmp_path: Path) -> None:
    prompted(tmp_path / "m.onnx", kind=TensorProto.UINT8)
    with pytest.raises(SourceError, match=rf"{value} is not a value of the input words, which is uint8"):
        export(tmp_path / "m.onnx", inputs=[f"words={value}"])


def test_a_file_that_is_no_array_is_refused(tmp_path: Path) -> None:
    prompted(tmp_path / "m.onnx")
    (tmp_path / "words.npy").write_bytes(b"\x93NUMPY\x01\x00cut off")
    with pytest.raises(SourceError, match=r"is not a file of one array, as numpy\.save writes it"):
        export(tmp_path / "m.onnx", inputs=[f"words={tmp_path / 'words.npy'}"])


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22e\nsize 12345\n"


def test_pointers_of_git_lfs_are_named(tmp_path: Path) -> None:
    for name in ("m.onnx", "w.pth", "words.npy", "names.txt", "p.yaml"):
        (tmp_path / name).write_bytes(POINTER)
    said = r"is a pointer of Git LFS, not the file itself\. Download it with 'git lfs pull'"
    with pytest.raises(SourceError, match=rf"m\.onnx {said}") as caught:
        export(tmp_path / "m.onnx")
    check_message(str(caught.value))
    with pytest.raises(SourceError, match=rf"w\.pth {said}"):
        boxcam.export("torchvision:resnet18", tmp_path / "w.pth", output=tmp_path / "o.boxcam")
    prompted(tmp_path / "n.onnx")
    with pytest.raises(SourceError, match=rf"words\.npy {said}"):
        export(tmp_path / "n.onnx", inputs=[f"words={tmp_path / 'words.npy'}"])
    net = Plain((1, 3, SIZE, SIZE))
    net.logits()
    path = net.save(tmp_path / "c.onnx")
    with pytest.raises(SourceError, match=rf"names\.txt {said}"):
        export(path, class_names=tmp_path / "names.txt")
    with pytest.raises(SourceError, match=rf"p\.yaml {said}"):
        export(path, preprocess=[str(tmp_path / "p.yaml")])
    model = export(path)
    forward = model.path / "forward.onnx"
    forward.write_bytes(POINTER)
    with pytest.raises(BoxcamError, match=rf"forward\.onnx {said}"):
        boxcam.load(model.path)


def test_weights_beside_a_file_may_be_a_pointer(tmp_path: Path) -> None:
    net = Plain((1, 3, SIZE, SIZE))
    net.logits()
    path = net.save(tmp_path / "m.onnx")
    onnx.save(onnx.load(str(path)), str(path), save_as_external_data=True, location="weights.bin", size_threshold=0)
    (tmp_path / "weights.bin").write_bytes(POINTER)
    with pytest.raises(SourceError, match=r"weights\.bin, with the weights of .*m\.onnx, is a pointer of Git LFS"):
        export(path)


def looped(path: Path, trips: int | str = "batch") -> Plain:
    """A classifier that takes the images of a batch one by one, in a Loop around all but the head."""
    net = Plain((1, 3, SIZE, SIZE))
    inner = Plain((1, 3, SIZE, SIZE))
    inner._count, inner.inputs = 1000, []
    for name, kind, shape in (("step", TensorProto.INT64, ()), ("goes", TensorProto.BOOL, ())):
        inner.input(name, shape, kind)
    one = inner.Unsqueeze(inner.Gather("image", "step", axis=0), np.array([0]))
    seen = inner.node("Squeeze", [inner.map(one), np.array([0])], name="each")[0]
    inner.node("Identity", ["goes"], name="goes_on")
    body = inner.graph({"goes_on": TensorProto.BOOL, seen: TensorProto.FLOAT})
    count = np.array(trips) if isinstance(trips, int) else net.Gather(net.Shape("image"), np.array(0), axis=0)
    net.nodes.append(
        helper.make_node(
            "Loop",
            [count if isinstance(count, str) else net.constant(count), net.constant(np.array(True))],
            ["maps"],
            body=body,
            name="images",
        )
    )
    net.logits("maps" if trips in (1, "batch") else net.ReduceMean("maps", np.array([0])))
    net.save(path)
    return net


@pytest.mark.parametrize("trips", [1, "batch"])
def test_a_loop_over_a_batch_of_one_is_written_out(trips: int | str, tmp_path: Path) -> None:
    net = looped(tmp_path / "m.onnx", trips)
    check(export(tmp_path / "m.onnx"), tensor(IMAGE), net, IMAGE)


def test_a_loop_in_front_of_the_head_is_named(tmp_path: Path) -> None:
    """Two trips, of which each would read the first image."""
    net = Plain((1, 3, SIZE, SIZE))
    inner = Plain((1, 3, SIZE, SIZE))
    inner._count, inner.inputs = 1000, []
    inner.input("step", (), TensorProto.INT64)
    inner.input("goes", (), TensorProto.BOOL)
    pooled = inner.Flatten(inner.GlobalAveragePool(inner.map("image")))
    inner.node("MatMul", [pooled, net.matrix], name="each")
    inner.node("Identity", ["goes"], name="goes_on")
    body = inner.graph({"goes_on": TensorProto.BOOL, "each": TensorProto.FLOAT})
    begin = [net.constant(np.array(2)), net.constant(np.array(True))]
    net.nodes.append(helper.make_node("Loop", begin, ["scores"], body=body, name="images"))
    net.node("Squeeze", [net.node("Slice", ["scores", np.array([0]), np.array([1])])[0], np.array([0])], name="logits")
    net.save(tmp_path / "m.onnx")
    with pytest.raises(
        BoxcamError, match=r"Loop \(images\) is between the image and the scores.*Export the model without"
    ) as caught:
        export(tmp_path / "m.onnx")
    check_message(str(caught.value))
