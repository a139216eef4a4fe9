"""The encoder: a small BERT with one sigmoid a label (Devlin et al. 2018, in the size "tiny" of Turc et al. 2019)."""

from __future__ import annotations

import math

import msgspec
import torch
from torch import Tensor, nn


class Shape(msgspec.Struct, frozen=True):
    """Sizes of the encoder."""

    vocabulary: int
    labels: int
    sources: int
    features: int
    tokens: int = 128
    width: int = 128
    layers: int = 2
    heads: int = 2
    inner: int = 256
    #: Of the pooled vector only: changing the texts at random regularises more, and dropout costs half of the time.
    dropout: float = 0.1


class Layer(nn.Module):
    """Self-attention and a feed-forward net, each with a residual."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.mixed = nn.Linear(shape.width, 3 * shape.width)
        self.joined = nn.Linear(shape.width, shape.width)
        self.first = nn.Linear(shape.width, shape.inner)
        self.second = nn.Linear(shape.inner, shape.width)
        self.norms = nn.ModuleList([nn.LayerNorm(shape.width), nn.LayerNorm(shape.width)])

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """Return [B, L, width] for [B, L, width]; ``bias`` [B, 1, 1, L] is very low where there is no token."""
        batch, length, width = x.shape
        parts = self.mixed(x).reshape(batch, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        query, key, value = parts[0], parts[1], parts[2]
        weights = torch.softmax(query @ key.transpose(-1, -2) / math.sqrt(width // self.heads) + bias, dim=-1)
        seen = (weights @ value).permute(0, 2, 1, 3).reshape(batch, length, width)
        x = self.norms[0](x + self.joined(seen))
        out: Tensor = self.norms[1](x + self.second(nn.functional.gelu(self.first(x))))
        return out


class Encoder(nn.Module):
    """Tokens, their source and the text's features in; one logit a label out."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.words = nn.Embedding(shape.vocabulary, shape.width)
        self.places = nn.Embedding(shape.tokens, shape.width)
        self.types = nn.Embedding(shape.sources, shape.width)
        self.norm = nn.LayerNorm(shape.width)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.hidden = nn.Linear(2 * shape.width + shape.features, shape.width)
        self.out = nn.Linear(shape.width, shape.labels)
        self.dropout = nn.Dropout(shape.dropout)
        for table in (self.words, self.places, self.types):
            nn.init.normal_(table.weight, std=0.02)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor, features: Tensor) -> Tensor:
        """Return logits [B, labels] for ids, mask and types [B, L] and features [B, features]."""
        mask = attention_mask.to(features.dtype)
        places = torch.arange(input_ids.shape[1], device=input_ids.device)
        x = self.words(input_ids) + self.places(places) + self.types(token_type_ids)
        x = self.norm(x)
        bias = (1.0 - mask)[:, None, None, :] * -1e4
        for layer in self.layers:
            x = layer(x, bias)
        strongest = (x + ((1.0 - mask) * -1e4)[:, :, None]).amax(dim=1)
        pooled = torch.cat((x[:, 0], strongest, features), dim=1)
        logits: Tensor = self.out(self.dropout(nn.functional.gelu(self.hidden(pooled))))
        return logits
