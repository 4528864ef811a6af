"""A detector of a few channels."""

from __future__ import annotations

import torch


class Tiny(torch.nn.Module):
    """Two levels of feature maps, one head for both; its outputs are named as a YOLO's."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = torch.nn.Conv2d(3, 8, 3, 2, 1)
        self.down = torch.nn.Conv2d(8, 8, 3, 2, 1)
        self.out = torch.nn.ModuleList([torch.nn.Identity(), torch.nn.Identity()])
        self.hidden = torch.nn.Conv2d(8, 8, 3, 1, 1)
        self.last = torch.nn.Conv2d(8, 4, 3, 1, 1)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        fine = torch.relu(self.stem(image))
        levels = [self.out[0](fine), self.out[1](4 * torch.relu(self.down(fine)))]
        return (*(self.last(torch.nn.functional.silu(self.hidden(level))) for level in levels), *levels)
