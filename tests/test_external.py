"""Files that a graph names for its tensors are found wherever they may stand in it, as onnx itself finds them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from boxcam.bundle.external import external_files

USUAL = "weights.bin"


def outside(location: str, *more: tuple[str, str]) -> TensorProto:
    tensor = TensorProto(name="location", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), *more):
        tensor.external_data.add(key=key, value=value)
    return tensor


def sparse(location: str) -> onnx.SparseTensorProto:
    return onnx.SparseTensorProto(values=outside("values.bin"), indices=outside(location), dims=[4])


def model(*initializers: TensorProto, nodes: tuple[onnx.NodeProto, ...] = ()) -> onnx.ModelProto:
    graph = helper.make_graph(list(nodes), "location", [], [], list(initializers))
    return helper.make_model(graph, producer_name="location")


def test_a_graph_without_any() -> None:
    assert external_files(model().SerializeToString()) == set()
    inside = helper.make_tensor("location", TensorProto.FLOAT, [1], [1.0])
    assert external_files(model(inside).SerializeToString()) == set()
    assert external_files(b"") == set()


def test_the_usual_one() -> None:
    tensor = outside(USUAL, ("offset", "65536"), ("length", "16"))
    tensor.name = "w"
    made = model(tensor, tensor)
    made.graph.name = made.producer_name = "plain"
    assert external_files(made.SerializeToString()) == {USUAL}
    assert external_files(made.SerializeToString()) == {USUAL}


def everywhere() -> onnx.ModelProto:
    """A tensor at each place that onnx.proto3 has for one."""
    inner = helper.make_graph([], "inner", [], [], [outside("subgraph.bin")])
    deep = helper.make_graph([helper.make_node("If", [], [], then_branch=inner)], "deep", [], [])
    node = helper.make_node("Loop", [], [], body=deep)
    node.attribute.append(helper.make_attribute("value", outside("attribute.bin")))
    node.attribute.append(helper.make_attribute("values", [outside("first.bin"), outside("second.bin")]))
    node.attribute.append(helper.make_attribute("sparse", sparse("sparse_attribute.bin")))
    node.attribute.append(helper.make_attribute("sparses", [sparse("sparse_attributes.bin")]))
    node.attribute.append(helper.make_attribute("graphs", [helper.make_graph([], "g", [], [], [outside("g.bin")])]))
    made = model(outside(USUAL), outside("../up.bin"), nodes=(node,))
    made.graph.sparse_initializer.append(sparse("sparse.bin"))
    made.training_info.add().initialization.initializer.append(outside("initialization.bin"))
    made.training_info.add().algorithm.initializer.append(outside("algorithm.bin"))
    function = made.functions.add(name="f", domain="d")
    function.node.append(helper.make_node("Constant", [], ["c"], value=outside("function.bin")))
    function.attribute_proto.append(helper.make_attribute("default", outside("default.bin")))
    return made


EXPECTED = {
    *(USUAL, "../up.bin", "subgraph.bin", "attribute.bin", "first.bin", "second.bin", "sparse_attribute.bin"),
    *("sparse_attributes.bin", "g.bin", "sparse.bin", "values.bin", "initialization.bin", "algorithm.bin"),
    *("function.bin", "default.bin"),
}


def test_every_place_of_a_tensor() -> None:
    assert external_files(everywhere().SerializeToString()) == EXPECTED


def ways(kind: Any = onnx.ModelProto.DESCRIPTOR, seen: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The fields that lead from a model to a tensor, by the descriptions of all messages, none entered twice."""
    for field in kind.fields:
        inner = field.message_type
        if inner is not None and inner.name not in seen:
            rest = [()] if inner.name == "TensorProto" else ways(inner, (*seen, inner.name))
            yield from ((field.name, *more) for more in rest)


@pytest.mark.parametrize("way", list(ways()), ids=".".join)
def test_no_place_of_a_tensor_is_forgotten(way: tuple[str, ...]) -> None:
    made = onnx.ModelProto()
    part: Any = made
    for name in way:
        field = getattr(part, name)
        part = field.add() if hasattr(field, "add") else field
    part.CopyFrom(outside("a.bin"))
    assert external_files(made.SerializeToString()) == {"a.bin"}


def test_the_last_of_two_entries_counts_as_one_and_so_does_the_first() -> None:
    assert external_files(model(outside("a.bin", ("location", "b.bin"))).SerializeToString()) == {
        "a.bin",
        "b.bin",
    }


def field(number: int, content: bytes) -> bytes:
    """A field of bytes, as a protocol buffer has it."""

    def varint(value: int) -> bytes:
        return bytes([value & 127 | 128]) + varint(value >> 7) if value > 127 else bytes([value])

    return varint(number << 3 | 2) + varint(len(content)) + content


KEY, PLAIN = field(1, b"location"), field(2, USUAL.encode())
HIDDEN = {
    "a second value": KEY + PLAIN + field(2, b"../up.bin"),
    "a second value behind another key": KEY + PLAIN + field(1, b"other") + field(2, b"../up.bin") + KEY,
    "a second key": field(1, b"offset") + field(2, b"../up.bin") + KEY,
    "a value before": field(2, USUAL.encode()) + KEY + field(2, b"../up.bin"),
    "what looks like an entry before": field(3, b"j" + bytes([len(KEY + PLAIN)]))
    + KEY
    + PLAIN
    + field(2, b"../up.bin"),
    "a value that looks like an entry": KEY + field(2, b"../up.bin") + field(3, KEY + PLAIN),
}


@pytest.mark.parametrize("way", HIDDEN)
def test_the_value_that_counts_is_the_last_of_an_entry(way: str) -> None:
    entry = HIDDEN[way]
    data = field(7, field(5, field(8, b"w") + field(13, entry) + b"\x70\x01"))
    read = onnx.ModelProto.FromString(data).graph.initializer[0].external_data
    assert [(one.key, one.value) for one in read] == [("location", "../up.bin")]
    assert external_files(data) == {"../up.bin"}


@pytest.mark.parametrize("high", [1, 2, 7])
def test_a_number_of_a_field_that_some_readers_cut_off_is_refused(high: int) -> None:
    """Beyond 32 bits: protobuf's parser in C++ takes the field for another one."""
    tag = bytes([0x6A | 128, 128, 128, 128, high << 4])
    entry = KEY + field(2, b"../up.bin")
    tensor = tag + bytes([len(entry)]) + entry
    with pytest.raises(ValueError, match="a field of a number that none has"):
        external_files(field(7, field(5, tensor)))


def test_an_entry_that_is_written_in_another_order_is_found() -> None:
    tensor = outside("a.bin")
    entry = b"\x12\x05a.bin\x0a\x08location"
    plain = tensor.SerializeToString()
    assert entry[7:] in plain
    turned = plain.replace(b"\x0a\x08location\x12\x05a.bin", entry)
    assert TensorProto.FromString(turned) == tensor
    made = model(tensor).SerializeToString()
    assert external_files(made.replace(plain, turned)) == {"a.bin"}


def test_a_length_that_is_written_longer_than_it_needs_is_read() -> None:
    plain = b"\x0a\x08location\x12\x05a.bin"
    longer = b"\x0a\x88\x80\x00location\x12\x85\x00a.bin"
    entry = onnx.StringStringEntryProto.FromString(longer)
    assert (entry.key, entry.value) == ("location", "a.bin")
    tensor = b"\x6a" + bytes([len(longer)]) + longer
    graph = b"\x2a" + bytes([len(tensor)]) + tensor
    data = b"\x3a" + bytes([len(graph)]) + graph
    assert len(longer) > len(plain)
    assert onnx.ModelProto.FromString(data).graph.initializer[0].external_data[0].value == "a.bin"
    assert external_files(data) == {"a.bin"}


@pytest.mark.parametrize("seed", range(20))
def test_a_broken_file_is_an_error_or_names_what_onnx_finds(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(50):
        data = bytearray(everywhere().SerializeToString())
        for _ in range(chance.randint(1, 4)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        data = data[: chance.choice([len(data), len(data), chance.randrange(len(data))])]
        try:
            named = external_files(bytes(data))
        except ValueError:
            continue
        try:
            read = onnx.ModelProto.FromString(bytes(data))
        except Exception:  # noqa: BLE001 - protobuf's implementations share no public root
            continue
        assert {
            entry.value if isinstance(entry.value, str) else entry.value.decode(errors="replace")
            for tensor in read.graph.initializer
            for entry in tensor.external_data
            if entry.key == "location"
        } <= named


def field(number: int, content: bytes) -> bytes:
    """A field of bytes, as protobuf writes it."""
    length = b""
    rest = len(content)
    while rest > 127:
        length += bytes([rest & 127 | 128])
        rest >>= 7
    return bytes([number << 3 | 2]) + length + bytes([rest]) + content


@pytest.mark.parametrize("depth", [20, 60, 5000])
def test_graphs_in_graphs(depth: int) -> None:
    graph = field(5, outside("a.bin").SerializeToString())
    for _ in range(depth):
        graph = field(1, field(5, field(6, graph)))  # the graph of an attribute of a node
    if depth == 20:
        assert external_files(field(7, graph)) == {"a.bin"}
        return
    with pytest.raises(ValueError, match="too deep"):
        external_files(field(7, graph))


@pytest.mark.parametrize(("loops", "fine"), [(0, True), (32, True), (33, False)])
def test_parts_lie_as_deep_in_each_other_as_protobuf_allows(loops: int, fine: bool) -> None:
    """A graph in an attribute of a node lies three deeper than the node's graph; the tensor is one more, the 98th."""
    graph = model(outside(USUAL)).graph
    for _ in range(loops):
        graph = helper.make_graph([helper.make_node("If", [], [], then_branch=graph)], "g", [], [])
    data = helper.make_model(graph).SerializeToString()
    if fine:
        assert external_files(data) == {USUAL}
    else:
        with pytest.raises(ValueError, match="its parts lie too deep in each other"):
            external_files(data)


def test_the_deepest_part_of_all_is_looked_at() -> None:
    """Of a training step's graph, in whose loops a sparse tensor lies: the hundredth part."""
    graph = helper.make_graph([], "g", [], [])
    graph.sparse_initializer.append(sparse("deep.bin"))
    for _ in range(32):
        graph = helper.make_graph([helper.make_node("If", [], [], then_branch=graph)], "g", [], [])
    made = onnx.ModelProto()
    made.training_info.add().algorithm.CopyFrom(graph)
    assert external_files(made.SerializeToString()) == {"values.bin", "deep.bin"}


ENTRY = field(7, field(5, field(13, KEY + PLAIN)))


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize(
    "other",
    [
        b"\x39location",  # field 7 as eight bytes, which are no message
        b"\x3dLLLL",  # and as four
        b"\x38\xff\x01",  # and as a number
        b"\x38" + b"\xff" * 9 + b"\x01",  # the longest there is
    ],
)
def test_fields_of_other_kinds_are_passed_over(other: bytes, before: bool) -> None:
    data = other + ENTRY if before else ENTRY + other
    onnx.ModelProto.FromString(data)
    assert external_files(data) == {USUAL}


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (b"\x39locatio", "in the middle of a field"),
        (b"\x3dLLL", "in the middle of a field"),
        (b"\x3a\x05LLLL", "in the middle of a field"),
        (b"\x38\xff", "in the middle of a number"),
        (b"\x38" + b"\xff" * 10 + b"\x01", "in the middle of a number"),
        (b"\x3b", "a field of wire type 3"),
        (b"\x3c", "a field of wire type 4"),
        (b"\x3e", "a field of wire type 6"),
    ],
)
def test_what_is_no_field_is_refused(other: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        external_files(ENTRY + other)


def test_a_place_that_is_not_said_is_one_without_a_name() -> None:
    data = field(7, field(5, field(13, KEY)))
    assert onnx.ModelProto.FromString(data).graph.initializer[0].external_data[0].value == ""
    assert external_files(data) == {""}
