"""Small detection transformers: tokens before and after those of the image, windows, projectors, queries.

All take a picture [1, 3, 64, 96] and give logits [1, Q, 3] and boxes [1, Q, 4], cxcywh normalized, as the detectors of
transformers do; a patch is 16 x 16 pixels, so the map has 4 x 6 cells.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HEIGHT, WIDTH, PATCH, WIDE, CLASSES = 64, 96, 16, 16, 3
ROWS, COLUMNS = HEIGHT // PATCH, WIDTH // PATCH


class Block(nn.Module):
    """A block with its norms before what they are read by, as of a ViT; tokens [B, n, C]."""

    def __init__(self) -> None:
        super().__init__()
        self.before_attention, self.before_mlp = nn.LayerNorm(WIDE), nn.LayerNorm(WIDE)
        self.read, self.out = nn.Linear(WIDE, 3 * WIDE), nn.Linear(WIDE, WIDE)
        self.mlp = nn.Sequential(nn.Linear(WIDE, 2 * WIDE), nn.GELU(), nn.Linear(2 * WIDE, WIDE))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.read(self.before_attention(x)).chunk(3, 2)
        x = x + self.out((q @ k.transpose(1, 2) / WIDE**0.5).softmax(2) @ v)
        return x + self.mlp(self.before_mlp(x))


class Heads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.score, self.box = nn.Linear(WIDE, CLASSES), nn.Linear(WIDE, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.score(x).sigmoid(), self.box(x).sigmoid()


class Transformer(nn.Module):
    """The parts that these detectors share."""

    def __init__(self, queries: int) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, WIDE, PATCH, PATCH)
        self.place = nn.Parameter(torch.randn(1, ROWS * COLUMNS, WIDE))
        self.blocks = nn.ModuleList(Block() for _ in range(2))
        self.norm = nn.LayerNorm(WIDE)
        self.queries = nn.Parameter(torch.randn(1, queries, WIDE))
        self.heads = Heads()

    def patches(self, image: Tensor) -> Tensor:
        return self.embed(image).flatten(2).transpose(1, 2) + self.place


class Yolos(Transformer):
    """YOLOS (Fang et al., 2021): a class token, the patches, then detection tokens, which alone are read at the end."""

    def __init__(self, queries: int = 5) -> None:
        super().__init__(queries)
        self.token = nn.Parameter(torch.randn(1, 1, WIDE))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        x = torch.cat([self.token, self.patches(image), self.queries], 1)
        for block in self.blocks:
            x = block(x)
        return self.heads(self.norm(x)[:, -self.queries.shape[1] :])


class Decoder(nn.Module):
    """Queries that read a memory, and themselves; the norms after what they follow."""

    def __init__(self) -> None:
        super().__init__()
        self.own, self.cross, self.last = nn.LayerNorm(WIDE), nn.LayerNorm(WIDE), nn.LayerNorm(WIDE)
        self.mlp = nn.Sequential(nn.Linear(WIDE, WIDE), nn.ReLU(), nn.Linear(WIDE, WIDE))

    def forward(self, queries: Tensor, memory: Tensor) -> Tensor:
        x = self.own(queries + (queries @ queries.transpose(1, 2)).softmax(2) @ queries)
        x = self.cross(x + (x @ memory.transpose(1, 2) / WIDE**0.5).softmax(2) @ memory)
        return self.last(x + self.mlp(x))


class Projected(Transformer):
    """RF-DETR: a ViT whose attention is within windows, a projector of convolutions behind it, and queries.

    Each of the 2 x 2 windows has a class token of its own; the second block reads all windows.
    """

    def __init__(self, queries: int = 7) -> None:
        super().__init__(queries)
        self.token = nn.Parameter(torch.randn(4, 1, WIDE))
        self.project = nn.Sequential(nn.Conv2d(2 * WIDE, WIDE, 1), nn.SiLU(), nn.Conv2d(WIDE, WIDE, 3, 1, 1), nn.SiLU())
        self.decoder = Decoder()

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        x = self.patches(image).view(2, ROWS // 2, 2, COLUMNS // 2, WIDE).permute(0, 2, 1, 3, 4)
        x = torch.cat([self.token, x.reshape(4, ROWS * COLUMNS // 4, WIDE)], 1)
        kept = []
        for block, whole in zip(self.blocks, (False, True), strict=True):
            x = block(x.reshape(1, -1, WIDE)).reshape(x.shape) if whole else block(x)
            patches = self.norm(x)[:, 1:].reshape(2, 2, ROWS // 2, COLUMNS // 2, WIDE).permute(0, 2, 1, 3, 4)
            kept.append(patches.reshape(1, ROWS, COLUMNS, WIDE).permute(0, 3, 1, 2))
        memory = self.project(torch.cat(kept, 1)).flatten(2).transpose(1, 2)
        return self.heads(self.decoder(self.queries, memory))


class Queries(Transformer):
    """DETR: an encoder of tokens, and as many queries as would fill a map, which are no map."""

    def __init__(self, queries: int = ROWS * COLUMNS) -> None:
        super().__init__(queries)
        self.stem = nn.Conv2d(3, 3, 3, 1, 1)
        self.decoder = Decoder()

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        x = self.patches(self.stem(image).relu())
        for block in self.blocks:
            x = block(x)
        return self.heads(self.decoder(self.queries, self.norm(x)))


class Selected(Transformer):
    """RT-DETR: the queries are the encoder's best tokens, which its authors detach."""

    def __init__(self, detach: bool = True) -> None:
        super().__init__(1)
        self.decoder, self.encoder_score = Decoder(), nn.Linear(WIDE, CLASSES)
        self.detach = detach

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        memory = self.norm(self.blocks[0](self.patches(image)))
        best = self.encoder_score(memory).amax(2).topk(6, 1).indices
        queries = memory.gather(1, best[..., None].expand(-1, -1, WIDE))
        return self.heads(self.decoder(queries.detach() if self.detach else queries, memory))


class Merged(nn.Module):
    """Swin: attention within windows, four cells merged into one, a map again; a dense head."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, WIDE, 4, 4)
        self.block, self.norm = Block(), nn.LayerNorm(WIDE)
        self.merge = nn.Linear(4 * WIDE, WIDE, bias=False)
        self.after = Block()
        self.lateral = nn.Sequential(nn.Conv2d(WIDE, WIDE, 3, 1, 1), nn.SiLU())
        self.score = nn.Sequential(nn.Conv2d(WIDE, WIDE, 3, 1, 1), nn.SiLU(), nn.Conv2d(WIDE, CLASSES, 1))
        self.box = nn.Sequential(nn.Conv2d(WIDE, WIDE, 3, 1, 1), nn.SiLU(), nn.Conv2d(WIDE, 4, 1))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        rows, columns = HEIGHT // 4, WIDTH // 4
        x = self.embed(image).flatten(2).transpose(1, 2).view(1, rows, columns, WIDE)
        windows = x.view(rows // 4, 4, columns // 4, 4, WIDE).transpose(1, 2).reshape(-1, 16, WIDE)
        windows = self.block(windows).view(rows // 4, columns // 4, 4, 4, WIDE)
        x = windows.transpose(1, 2).reshape(1, rows, columns, WIDE)
        x = torch.cat([x[:, i::2, j::2] for j in (0, 1) for i in (0, 1)], 3)
        x = self.norm(self.after(self.merge(x).flatten(1, 2)))
        x = self.lateral(x.view(1, rows // 2, columns // 2, WIDE).permute(0, 3, 1, 2))
        return self.score(x).flatten(2).transpose(1, 2).sigmoid(), self.box(x).flatten(2).transpose(1, 2).sigmoid()


KINDS: dict[str, Callable[[], nn.Module]] = {
    "yolos": Yolos,
    "projected": Projected,
    "queries": Queries,
    "selected": Selected,
    "merged": Merged,
}


def make(kind: str) -> nn.Module:
    """A detector with random weights."""
    torch.manual_seed(0)
    return KINDS[kind]().eval()


def picture() -> Tensor:
    """What the detectors take."""
    coarse = torch.rand(1, 3, 8, 12, generator=torch.Generator().manual_seed(1))
    return F.interpolate(coarse, (HEIGHT, WIDTH), mode="bilinear")


def export(model: nn.Module, folder: Path) -> Path:
    """The detector as an ONNX file."""
    path = folder / "detector.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (picture(),),
            path,
            input_names=["images"],
            output_names=["logits", "pred_boxes"],
            opset_version=17,
            dynamo=False,
        )
    return path
