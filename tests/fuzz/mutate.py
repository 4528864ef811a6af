"""Ways to break bytes, plain data and graphs."""

from __future__ import annotations

import random
import struct
import zlib
from typing import Any

import onnx

NUMBERS = (
    0,
    1,
    -1,
    2,
    3,
    4,
    5,
    7,
    8,
    127,
    128,
    255,
    256,
    1000,
    32767,
    65535,
    1 << 20,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**63 - 1,
)
TEXTS = (
    "",
    "a",
    "origin",
    "../../etc/passwd",
    "/etc/passwd",
    "\0",
    "\x1b[2J",
    "\u202e",
    "ü" * 300,
    "a\nb",
    "NaN",
    "none",
)
OPERATORS = (
    *(
        "Relu",
        "Identity",
        "Add",
        "Mul",
        "Sub",
        "Div",
        "Conv",
        "Gemm",
        "MatMul",
        "Softmax",
        "Sigmoid",
        "Reshape",
        "Gather",
    ),
    *(
        "Transpose",
        "Slice",
        "Concat",
        "Split",
        "Squeeze",
        "Unsqueeze",
        "Shape",
        "Cast",
        "Clip",
        "ReduceMean",
        "TopK",
        "If",
    ),
    *("NonMaxSuppression", "ArgMax", "Resize", "MaxPool", "BatchNormalization", "Dropout", "Loop", "ConstantOfShape"),
    *("Expand", "Pad", "Where", "NonZero", "QuantizeLinear", "DequantizeLinear", "GatherND", "ScatterND", "RoiAlign"),
    *("Flatten", "Nothing"),
)


def mutate_bytes(rng: random.Random, data: bytes) -> bytes:
    """Some bytes changed, cut, repeated or put in."""
    broken = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        place = rng.randrange(len(broken) + 1) if rng.random() < 0.6 else rng.randrange(min(len(broken), 64) + 1)
        way = rng.randrange(6)
        if way == 0:
            del broken[place:]
        elif way == 1:
            del broken[place : place + rng.randrange(1, 40)]
        elif way == 2:
            start = rng.randrange(len(broken) + 1)
            broken[place:place] = broken[start : start + rng.randrange(1, 60)]
        elif way == 3 and place < len(broken):
            broken[place] ^= 1 << rng.randrange(8)
        elif way == 4:
            number = rng.choice(NUMBERS) & 0xFFFFFFFF
            broken[place : place + 4] = struct.pack(rng.choice("<>") + "I", number)
        else:
            broken[place : place + 2] = struct.pack(rng.choice("<>") + "H", rng.choice(NUMBERS) & 0xFFFF)
        if not broken:
            break
    return bytes(broken)


def mend_png(data: bytes) -> bytes:
    """The file with the checksums that its chunks should have, so that decoders look into them."""
    place, mended = 8, bytearray(data)
    while place + 12 <= len(mended):
        length = struct.unpack_from(">I", mended, place)[0]
        end = place + 8 + length
        if end + 4 > len(mended):
            break
        struct.pack_into(">I", mended, end, zlib.crc32(mended[place + 4 : end]))
        place = end + 4
    return bytes(mended)


def mutate_data(rng: random.Random, data: Any) -> Any:
    """Plain data of JSON with one value changed, left out, repeated or moved, in place."""
    places: list[tuple[Any, Any]] = []
    waiting = [data]
    while waiting:
        holder = waiting.pop()
        for key in list(holder) if isinstance(holder, dict) else range(len(holder)):
            places.append((holder, key))
            if isinstance(holder[key], dict | list):
                waiting.append(holder[key])
    if not places:
        return data
    holder, key = rng.choice(places)
    old, way = holder[key], rng.randrange(8)
    if way == 0:
        del holder[key]
    elif way == 1:
        holder[key] = rng.choice((None, True, False, [], {}, [[]], 1.5, -0.0, 1e308, -1e308, 1e-320))
    elif way == 2:
        holder[key] = rng.choice(NUMBERS) * rng.choice((1, -1, 1.0))
    elif way == 3:
        holder[key] = rng.choice(TEXTS)
    elif way == 4:
        holder[key] = rng.choice(places)[0]
        return unshared(data)
    elif way == 5 and isinstance(old, int | float):
        holder[key] = old + rng.choice((1, -1, 0.5, 1000))
    elif way == 6 and isinstance(holder, list):
        holder.insert(rng.randrange(len(holder) + 1), old)
    elif isinstance(holder, dict):
        holder[rng.choice((*TEXTS, "extra", "rois"))] = old
    return data


def unshared(data: Any, depth: int = 0) -> Any:
    """A copy without circles."""
    if depth > 12:
        return None
    if isinstance(data, dict):
        return {key: unshared(value, depth + 1) for key, value in data.items()}
    return [unshared(value, depth + 1) for value in data] if isinstance(data, list) else data


def mutate_graph(rng: random.Random, model: onnx.ModelProto) -> None:
    """One thing of a model changed, in place."""
    graph = model.graph
    names = [*(name for node in graph.node for name in (*node.input, *node.output)), "nothing", ""]
    way = rng.randrange(15)
    if graph.node and way < 8:
        node = rng.choice(graph.node)
        if way == 0 and node.input:
            node.input[rng.randrange(len(node.input))] = rng.choice(names)
        elif way == 1 and node.output:
            node.output[rng.randrange(len(node.output))] = rng.choice(names)
        elif way == 2:
            node.op_type = rng.choice(OPERATORS)
        elif way == 3:
            graph.node.remove(node)
        elif way == 4:
            graph.node.insert(rng.randrange(len(graph.node) + 1), node)
        elif way == 5 and node.attribute:
            _mutate_attribute(rng, rng.choice(node.attribute))
        elif way == 6 and node.attribute:
            node.attribute.remove(rng.choice(node.attribute))
        else:
            node.domain = rng.choice(("com.microsoft", "own", "ai.onnx", "ai.onnx.ml"))
    elif way < 10 and graph.initializer:
        _mutate_tensor(rng, rng.choice(graph.initializer))
    elif way < 12:
        values = [*graph.input, *graph.output, *graph.value_info]
        if values:
            value = rng.choice(values)
            dims = value.type.tensor_type.shape.dim
            if dims and rng.random() < 0.6:
                rng.choice(dims).dim_value = rng.choice(NUMBERS) * rng.choice((1, -1)) % (1 << 62)
            elif rng.random() < 0.5:
                value.type.tensor_type.elem_type = rng.randrange(25)
            else:
                value.name = rng.choice(names)
    elif way == 12:
        model.metadata_props.append(
            onnx.StringStringEntryProto(
                key=rng.choice(("names", "imgsz", "task", "stride", "description")),
                value=rng.choice((*TEXTS, "{0: 'a', 999999999: 'b'}", "[" * 3000, "[640, 640]", "detect", "32", "-1")),
            )
        )
    elif way == 13 and model.opset_import:
        model.opset_import[0].version = rng.choice((*NUMBERS[:12], 13, 17, 18, 21))
    else:
        model.ir_version = rng.choice((*NUMBERS[:10], 8, 9, 10)) % (1 << 31)


def _mutate_attribute(rng: random.Random, attribute: onnx.AttributeProto) -> None:
    if attribute.ints and rng.random() < 0.7:
        attribute.ints[rng.randrange(len(attribute.ints))] = rng.choice(NUMBERS) * rng.choice((1, -1))
    elif attribute.type == onnx.AttributeProto.INT:
        attribute.i = rng.choice(NUMBERS) * rng.choice((1, -1))
    elif attribute.type == onnx.AttributeProto.TENSOR:
        _mutate_tensor(rng, attribute.t)
    elif attribute.type == onnx.AttributeProto.FLOAT:
        attribute.f = rng.choice((0.0, -1.0, float("nan"), float("inf"), 1e30))
    elif attribute.type == onnx.AttributeProto.STRING:
        attribute.s = rng.choice((b"", b"\xff\xfe", b"SAME_UPPER", b"x" * 5000))
    else:
        attribute.type = rng.randrange(15)


def _mutate_tensor(rng: random.Random, tensor: onnx.TensorProto) -> None:
    way = rng.randrange(6)
    if way == 0 and tensor.dims:
        tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice(NUMBERS) * rng.choice((1, -1))
    elif way == 1:
        tensor.raw_data = mutate_bytes(rng, tensor.raw_data or bytes(8))
    elif way == 2:
        tensor.data_type = rng.randrange(25)
    elif way == 3:
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (
            ("location", rng.choice(("../canary", "/etc/hostname", "model.onnx", "", "x"))),
            ("offset", "0"),
        ):
            entry = tensor.external_data.add()
            entry.key, entry.value = key, value
    elif way == 4:
        tensor.raw_data = struct.pack("<f", rng.choice((0.0, float("nan"), float("inf"), 1e38))) * (
            len(tensor.raw_data) // 4
        )
    else:
        tensor.name = rng.choice(("", "image", "w", "scores"))
