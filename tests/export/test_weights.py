"""Bundles hold each weight once, in one file that all of their graphs read; and what they give is what it was."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnxruntime.transformers.float16 import convert_float_to_float16

import boxcam
from boxcam.bundle import FORWARD, MANIFEST, WEIGHTS, read, seal
from boxcam.errors import BundleError, OutputError
from boxcam.export.graphs.run import serialized
from boxcam.export.graphs.weights import SMALL
from boxcam.export.source import SOURCES
from tests.export import two_stage
from tests.export.bundles import LIMIT, export, inline, maps, size


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SOURCES._things, "two", two_stage.way(two_stage.source()))
        return export(tmp_path_factory.mktemp("weights") / "two.boxcam", engine="both")


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle, tmp_path / "two.boxcam"))


def test_a_bundle_is_as_large_as_its_model(bundle: Path) -> None:
    graphs = [name for name in os.listdir(bundle) if name.startswith("gradient.")]
    assert {Path(name).suffix for name in graphs} == {".onnx", ".pt"}
    assert len(graphs) >= 6
    assert size(bundle) <= LIMIT * len(serialized(two_stage.model()))


def test_no_number_is_stored_twice(bundle: Path) -> None:
    wanted: set[bytes] = set()
    for file in bundle.glob("*.onnx"):
        graph = onnx.load(file, load_external_data=False).graph
        inside = [tensor for tensor in graph.initializer if not tensor.external_data]
        assert all(len(onnx.numpy_helper.to_array(tensor).tobytes()) < SMALL for tensor in inside)
        whole = onnx.load(file).graph.initializer
        wanted |= {onnx.numpy_helper.to_array(tensor).tobytes() for tensor in whole}
    large = sorted(len(data) for data in wanted if len(data) >= SMALL)
    padding = (1 << 16) * sum(length >= 1 << 20 for length in large) + (1 << 12) * len(large)
    assert sum(large) <= (bundle / WEIGHTS).stat().st_size <= sum(large) + padding
    assert max(large) == 128 * 64 * 49 * 4  # of the first linear layer, once for the three layers that it lies behind


def test_large_tensors_begin_where_they_can_be_mapped(bundle: Path) -> None:
    places = {}
    for file in bundle.glob("*.onnx"):
        for tensor in onnx.load(file, load_external_data=False).graph.initializer:
            entry = {pair.key: pair.value for pair in tensor.external_data}
            if entry:
                assert entry["location"] == WEIGHTS
                places[int(entry["offset"])] = int(entry["length"])
    assert len(places) > 5
    for offset, length in places.items():
        assert offset % (65536 if length >= 1 << 20 else 4096 if length >= 1 << 15 else 64) == 0


@pytest.mark.parametrize("engine", ["onnx", "torchscript"])
def test_maps_are_bit_for_bit_those_of_graphs_that_hold_their_own(
    bundle: Path, tmp_path: Path, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SOURCES._things, "two", two_stage.way(two_stage.source()))
    inline(monkeypatch)
    apart = export(tmp_path / "apart", engine=engine)
    assert not (apart / WEIGHTS).exists()
    assert size(apart) > 2.5 * size(bundle)
    found, expected = maps(bundle, engine), maps(apart, engine)
    assert len(found) == 6
    for one, other in zip(found, expected, strict=True):
        assert np.abs(other).max() > 0
        assert np.array_equal(one, other)


def test_a_float16_detector_shares_its_weights_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    half = convert_float_to_float16(ir.to_proto(two_stage.model()), keep_io_types=True, op_block_list=["RoiAlign"])
    model = ir.from_proto(half)
    model.graph.sort()
    of = two_stage.source(model)
    monkeypatch.setitem(SOURCES._things, "two", two_stage.way(of))
    path = export(tmp_path / "half.boxcam", engine="both")
    assert read(path).source["precision"].startswith("float16")
    assert size(path) <= LIMIT * half.ByteSize()
    types = {tensor.data_type for tensor in onnx.load(path / FORWARD).graph.initializer if tensor.external_data}
    assert onnx.TensorProto.FLOAT not in types
    gradient = onnx.load(path / "gradient.early.onnx").graph
    narrow = {tensor.name for tensor in gradient.initializer if tensor.data_type == onnx.TensorProto.FLOAT16}
    assert narrow
    assert {node.op_type for node in gradient.node if narrow & set(node.input)} == {"Cast"}  # computed in float32
    inline(monkeypatch)
    apart = export(tmp_path / "apart", engine="both")
    for engine in ("onnx", "torchscript"):
        for one, other in zip(maps(path, engine), maps(apart, engine), strict=True):
            assert np.abs(other).max() > 0
            assert np.array_equal(one, other)


FILES = (FORWARD, MANIFEST, WEIGHTS, "gradient.neck.onnx", "gradient.neck.means.onnx", "gradient.neck.pt")


@pytest.mark.parametrize("name", FILES)
def test_one_bit_of_a_file_is_seen(name: str, copy: Path) -> None:
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    with pytest.raises(BundleError, match=rf"{re.escape(name)} (was altered|cannot be read|is not a valid manifest)"):
        boxcam.load(copy)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_lost_is_named(name: str, copy: Path) -> None:
    (copy / name).unlink()
    with pytest.raises(BundleError, match=f"(has lost its file|it has no) {re.escape(name)}"):
        boxcam.load(copy)


@pytest.mark.parametrize("name", FILES)
def test_a_link_is_not_followed(name: str, copy: Path) -> None:
    (copy / name).rename(copy.parent / name)
    (copy / name).symlink_to(copy.parent / name)
    with pytest.raises(BundleError, match=rf"{re.escape(name)} is a link"):
        boxcam.load(copy)


def test_what_cannot_be_told_by_the_manifest_is_not_a_file_of_it(copy: Path) -> None:
    (copy / "gradient.extra.onnx").write_bytes(b"")
    with pytest.raises(BundleError, match=r"does not list: 'gradient\.extra\.onnx'"):
        boxcam.load(copy)


def forge(bundle: Path, name: str, data: bytes) -> None:
    """Put a file in that the manifest vouches for."""
    (bundle / name).write_bytes(data)
    manifest = json.loads((bundle / MANIFEST).read_text())
    manifest["files"][name] = hashlib.sha256(data).hexdigest()
    (bundle / MANIFEST).write_text(json.dumps({**manifest, "seal": seal(manifest)}))


def elsewhere(file: Path, place: str) -> bytes:
    """A graph that reads its last tensor from somewhere else."""
    model = onnx.load(file, load_external_data=False)
    tensor = [tensor for tensor in model.graph.initializer if tensor.external_data][-1]
    next(entry for entry in tensor.external_data if entry.key == "location").value = place
    return bytes(model.SerializeToString())


PLACES: dict[str, Callable[[Path], str]] = {
    "a folder up": lambda bundle: f"../{WEIGHTS}",
    "out and in": lambda bundle: f"../{bundle.name}/{WEIGHTS}",
    "from the root": lambda bundle: str(bundle / WEIGHTS),
    "in a roundabout way": lambda bundle: f"./{WEIGHTS}",
    "memory": lambda bundle: "*/_ORT_MEM_ADDR_/*",
    "no name": lambda bundle: "",
    "a file that is not there": lambda bundle: "more.bin",
}


@pytest.mark.parametrize("name", [FORWARD, "gradient.neck.onnx", "gradient.neck.means.onnx"])
@pytest.mark.parametrize("kind", PLACES)
def test_graphs_read_from_files_of_the_bundle_only(name: str, kind: str, copy: Path) -> None:
    shutil.copy(copy / WEIGHTS, copy.parent / WEIGHTS)
    place = PLACES[kind](copy)
    forge(copy, name, elsewhere(copy / name, place))
    said = rf"{re.escape(name)} reads its weights from {re.escape(repr(place))}, which is not a file of the bundle"
    with pytest.raises(BundleError, match=said):
        boxcam.load(copy)


def test_weights_that_are_too_short_are_an_error(copy: Path) -> None:
    forge(copy, WEIGHTS, (copy / WEIGHTS).read_bytes()[: 1 << 20])
    with pytest.raises(boxcam.BoxcamError, match=r"forward\.onnx cannot be loaded by ONNX Runtime"):
        boxcam.load(copy)


def test_a_bundle_of_format_3_is_to_be_exported_again(copy: Path) -> None:
    manifest = json.loads((copy / MANIFEST).read_text())
    manifest["format"] = 3
    (copy / MANIFEST).write_text(json.dumps({**manifest, "seal": seal(manifest)}))
    with pytest.raises(BundleError, match=r"has format 3, which this boxcam no longer reads.*Export the model again"):
        boxcam.load(copy)


def test_a_failure_leaves_no_weights_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of = two_stage.source()
    monkeypatch.setitem(SOURCES._things, "two", two_stage.way(dataclasses.replace(of, labels=("cat",))))

    def fail(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("boxcam.export.graphs.weights.ir.save", fail)
    with pytest.raises(OutputError, match="No space left"):
        export(tmp_path / "two.boxcam", engine="onnx")
    assert os.listdir(tmp_path) == []
