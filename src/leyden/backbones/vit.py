"""Augment > **backbone** > head: a vision transformer (Dosovitskiy et al. 2021), pre-norm, with a class token.

Shapes: B images, T tokens (patches and the class token), D width.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from leyden.config import require


class Attention(nn.Module):
    """Multi-head self-attention (Vaswani et al. 2017)."""

    def __init__(self, width: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads, self.dropout = num_heads, dropout
        self.qkv = nn.Linear(width, 3 * width)
        self.projection = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        q, k, v = (
            self.qkv(tokens).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        )  # [B, heads, T, D/heads]
        mixed = F.scaled_dot_product_attention(q, k, v, dropout_p=self.dropout if self.training else 0.0)
        return self.projection(mixed.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Attention, then a two-layer perceptron, each after a norm and beside a shortcut.

    In training each branch of an image is skipped with probability `skip` (Huang et al. 2016).
    """

    def __init__(self, width: int, num_heads: int, mlp_ratio: float, dropout: float, skip: float) -> None:
        super().__init__()
        self.skip = skip
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attention = Attention(width, num_heads, dropout)
        hidden = int(width * mlp_ratio)
        self.mlp = nn.Sequential(
            nn.Linear(width, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, width), nn.Dropout(dropout)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self._skip(self.dropout(self.attention(self.norm1(tokens))))
        return tokens + self._skip(self.mlp(self.norm2(tokens)))

    def _skip(self, branch: Tensor) -> Tensor:
        if not self.training or not self.skip:
            return branch
        kept = torch.empty(len(branch), 1, 1, device=branch.device).bernoulli_(1 - self.skip)
        return branch * (kept / (1 - self.skip)).to(branch.dtype)


class ViT(nn.Module):
    """Patches of the image as tokens, `depth` blocks, the class token's state as features.

    Weights start from a normal distribution with a deviation of 0.02; biases at zero.
    """

    def __init__(
        self,
        channels: int,
        image_size: int,
        patch_size: int = 4,
        width: int = 192,
        depth: int = 6,
        num_heads: int = 3,
        mlp_ratio: float = 4.0,
        dropout: float = 0.0,
        stochastic_depth: float = 0.0,
    ) -> None:
        super().__init__()
        require("backbone.width", width, width >= 1, "1 or more")
        require("backbone.depth", depth, depth >= 1, "1 or more")
        require("backbone.mlp_ratio", mlp_ratio, int(width * mlp_ratio) >= 1, "1 / width or more")
        require("backbone.dropout", dropout, 0 <= dropout < 1, "a number from 0 to below 1")
        require("backbone.stochastic_depth", stochastic_depth, 0 <= stochastic_depth < 1, "a number from 0 to below 1")
        if patch_size < 1 or image_size % patch_size:
            raise ValueError(
                f"backbone.patch_size={patch_size} does not divide the image size {image_size}: give one that does"
            )
        if num_heads < 1 or width % num_heads:
            raise ValueError(
                f"backbone.num_heads={num_heads} does not divide backbone.width={width}: give one that does"
            )
        self.patches = nn.Conv2d(channels, width, patch_size, patch_size)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.position_embedding = nn.Parameter(torch.empty(1, 1 + (image_size // patch_size) ** 2, width))
        self.dropout = nn.Dropout(dropout)
        skips = [stochastic_depth * position / max(1, depth - 1) for position in range(depth)]
        self.blocks = nn.Sequential(*(Block(width, num_heads, mlp_ratio, dropout, skip) for skip in skips))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.num_features = width
        nn.init.trunc_normal_(self.position_embedding, std=0.02)
        nn.init.trunc_normal_(self.class_token, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                nn.init.trunc_normal_(module.weight, std=0.02)
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, C, H, W] to features [B, D]."""
        patches = self.patches(images).flatten(2).transpose(1, 2)  # [B, T - 1, D]
        tokens = torch.cat([self.class_token.expand(images.shape[0], -1, -1), patches], dim=1) + self.position_embedding
        return self.norm(self.blocks(self.dropout(tokens))[:, 0])
