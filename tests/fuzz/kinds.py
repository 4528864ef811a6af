"""Kinds of files, how a case of each is made, and what boxcam does with it."""

from __future__ import annotations

import copy
import json
import random
import shutil
from pathlib import Path
from typing import Protocol

import onnx
import onnx.parser

import boxcam
from boxcam.bundle import MANIFEST, read, seal
from boxcam.bundle.files import sha256
from tests.fuzz.mutate import mend_png, mutate_bytes, mutate_data, mutate_graph
from tests.hostile.made import BUNDLE, PICTURE, model

SEEDS = Path(__file__).parent / "seeds"


class Kind(Protocol):
    """A kind of file."""

    def make(self, rng: random.Random, folder: Path) -> None:
        """Write a case into a folder."""

    def use(self, rng: random.Random, folder: Path) -> None:
        """Let boxcam read what was written."""


class Manifests:
    """A bundle with another manifest, sealed."""

    def __init__(self) -> None:
        self.data = json.loads((BUNDLE / MANIFEST).read_text())

    def make(self, rng: random.Random, folder: Path) -> None:
        data = copy.deepcopy(self.data)
        for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
            data = mutate_data(rng, data)
        whole = folder.parent / "bundle"  # links to it are of its file system; symbolic ones would be refused
        if not whole.exists():
            shutil.copytree(BUNDLE, whole)
        for file in self.data["files"]:
            (folder / file).parent.mkdir(exist_ok=True)
            (folder / file).hardlink_to(whole / file)
        try:
            data["seal"] = seal(data)
            text = json.dumps(data)
        except (TypeError, ValueError, AttributeError):
            text = repr(data)
        if rng.random() < 0.05:
            text = mutate_bytes(rng, text.encode()).decode("latin-1")
        (folder / MANIFEST).write_text(text, encoding="utf-8", errors="replace")

    def use(self, rng: random.Random, folder: Path) -> None:
        read(folder)
        if rng.random() < 0.3:
            boxcam.load(folder, threads=1).explain(PICTURE, top=2).facts()


class Bundles:
    """A bundle with another graph."""

    def make(self, rng: random.Random, folder: Path) -> None:
        shutil.copytree(BUNDLE, folder, dirs_exist_ok=True)
        data = json.loads((folder / MANIFEST).read_text())
        file = folder / rng.choice([name for name in data["files"] if name.endswith(".onnx")])
        made = onnx.load(str(file), load_external_data=False)
        for _ in range(rng.choice((1, 1, 2, 4))):
            mutate_graph(rng, made)
        file.write_bytes(
            made.SerializeToString() if rng.random() < 0.9 else mutate_bytes(rng, made.SerializeToString())
        )
        data["files"] = {name: sha256(folder / name) for name in data["files"]}
        data["seal"] = seal(data)
        (folder / MANIFEST).write_text(json.dumps(data))

    def use(self, rng: random.Random, folder: Path) -> None:
        running = boxcam.load(folder, threads=1)
        method = rng.choice(("gradcam", "hirescam"))
        with boxcam.limits(timeout=8):
            running.explain(PICTURE, method=method, top=2).facts()


class Graphs:
    """An ONNX file."""

    def __init__(self) -> None:

        texts = sorted(SEEDS.glob("*.onnxtxt"))
        self.models = [model(), *(onnx.parser.parse_model(path.read_text()) for path in texts)]

    def make(self, rng: random.Random, folder: Path) -> None:
        made = onnx.ModelProto()
        made.CopyFrom(rng.choice(self.models))
        for _ in range(rng.choice((1, 1, 2, 3, 6))):
            mutate_graph(rng, made)
        data = made.SerializeToString()
        (folder / "model.onnx").write_bytes(mutate_bytes(rng, data) if rng.random() < 0.1 else data)

    def use(self, rng: random.Random, folder: Path) -> None:
        from boxcam.export.inspect import survey
        from boxcam.export.source import Request

        file, preprocess = str(folder / "model.onnx"), ("imagenet",)
        with boxcam.limits(timeout=8):
            if rng.random() < 0.8:
                survey(Request((file,), preprocess=preprocess), lambda step: None)
            else:
                boxcam.export(file, output=folder / "b", preprocess=preprocess, engine="onnx")


class Images:
    """An image file."""

    def __init__(self) -> None:
        self.seeds = [path.read_bytes() for path in sorted(SEEDS.glob("image.*"))]

    def make(self, rng: random.Random, folder: Path) -> None:
        data = mutate_bytes(rng, rng.choice(self.seeds))
        if data.startswith(b"\x89PNG") and rng.random() < 0.8:
            data = mend_png(data)
        (folder / "image").write_bytes(data)

    def use(self, rng: random.Random, folder: Path) -> None:
        from boxcam.runtime.images import read_image

        with boxcam.limits(max_pixels=50_000_000):
            read_image(folder / "image")


class Planes(Images):
    """An image file of six channels."""

    def __init__(self) -> None:
        import tifffile  # noqa: F401 - which is imported when it is needed

        self.seeds = [path.read_bytes() for path in sorted(SEEDS.glob("planes.*"))]

    def use(self, rng: random.Random, folder: Path) -> None:
        from boxcam.runtime.planes import read_planes

        with boxcam.limits(max_pixels=50_000_000):
            read_planes(folder / "image", 6)


class Checkpoints:
    """A checkpoint of PyTorch."""

    def __init__(self) -> None:
        import torch._dynamo  # noqa: F401 - which takes a while, and starts processes

        self.seeds = [path.read_bytes() for path in sorted(SEEDS.glob("*.pth"))]

    def make(self, rng: random.Random, folder: Path) -> None:
        (folder / "a.pth").write_bytes(mutate_bytes(rng, rng.choice(self.seeds)))

    def use(self, rng: random.Random, folder: Path) -> None:
        from boxcam.export.sources.pytorch.checkpoint import read as read_checkpoint

        read_checkpoint(folder / "a.pth")


class Texts:
    """Settings of the preprocessing, and class names."""

    def __init__(self) -> None:
        self.seeds = [path.read_bytes() for path in sorted(SEEDS.glob("settings.*"))]

    def make(self, rng: random.Random, folder: Path) -> None:
        data = mutate_bytes(rng, rng.choice(self.seeds))
        for name in ("a.yaml", "a.json", "names.txt"):
            (folder / name).write_bytes(data)

    def use(self, rng: random.Random, folder: Path) -> None:
        from boxcam.errors import BoxcamError
        from boxcam.export.preprocessing.parse import parse
        from boxcam.export.sources import class_names

        uses = [lambda: class_names.read(folder / "names.txt")]
        uses += [
            lambda name=name: parse([str(folder / name)], (1, 3, None, None), None, None)
            for name in ("a.yaml", "a.json")
        ]  # type: ignore[misc]
        for use in uses:
            try:
                use()
            except BoxcamError:
                continue


KINDS: dict[str, type[Kind]] = {
    "manifests": Manifests,
    "bundles": Bundles,
    "graphs": Graphs,
    "images": Images,
    "planes": Planes,
    "checkpoints": Checkpoints,
    "texts": Texts,
}
