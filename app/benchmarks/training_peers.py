"""Peers of `phosphene bench training`: the published training loops in plain, idiomatic PyTorch.

Written as `systems.md` describes the originals, the way most research code is: float32 (stage A
in the precision that ours takes, so that the loops are compared and not the precisions), the
optimiser as it comes, a data set that is indexed item by item behind a DataLoader, attention
spelt out, one value of the loss read at every step. Parameters carry the published names, so that
a test can give a peer our weights and find the same loss. Nothing of Phosphene is used here (the
one place outside `models` that imports torch: a peer is no model of ours).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset


def n_threads() -> int:
    """Threads that torch computes with, for both."""
    return torch.get_num_threads()


class Attention(nn.Module):
    """Softmax attention with a bias in q, k, v."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.scale = (dim // heads) ** -0.5
        self.qkv = nn.Linear(dim, dim * 3)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(n, length, dim) to the same."""
        n, length, dim = x.shape
        qkv = self.qkv(x).reshape(n, length, 3, self.heads, dim // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        weights = (q @ k.transpose(-2, -1) * self.scale).softmax(dim=-1)
        mixed: Tensor = self.proj((weights @ v).transpose(1, 2).reshape(n, length, dim))
        return mixed


class Mlp(nn.Module):
    """Two layers with GELU."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(n, length, dim) to the same."""
        made: Tensor = self.fc2(functional.gelu(self.fc1(x)))
        return made


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, dim: int, heads: int, ratio: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, int(dim * ratio))

    def forward(self, x: Tensor) -> Tensor:
        """(n, length, dim) to the same."""
        x = x + self.attn(self.norm1(x))
        made: Tensor = x + self.mlp(self.norm2(x))
        return made


class PatchEmbed(nn.Module):
    """Convolution whose stride is its kernel."""

    def __init__(self, channels: int, patch: int, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv1d(channels, dim, kernel_size=patch, stride=patch)

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, times) to (n, tokens, dim)."""
        made: Tensor = self.proj(x).transpose(1, 2)
        return made


def _positions(n_tokens: int, dim: int) -> Tensor:
    place = torch.arange(n_tokens, dtype=torch.float64)[:, None]
    rate = 1.0 / 10000 ** (torch.arange(dim // 2, dtype=torch.float64) / (dim / 2.0))
    table = torch.cat([(place * rate).sin(), (place * rate).cos()], dim=1)
    return torch.cat([torch.zeros(1, dim, dtype=torch.float64), table]).float()[None]


class MaskedAutoencoder(nn.Module):
    """Section 0.1: most tokens are hidden, their samples are predicted."""

    def __init__(self, sizes: Mapping[str, Any]) -> None:
        super().__init__()
        channels, patch = sizes["n_channels"], sizes["patch_size"]
        dim, narrow, ratio = sizes["embed_dim"], sizes["decoder_embed_dim"], sizes["mlp_ratio"]
        n_tokens = sizes["n_times"] // patch
        self.patch = patch
        self.patch_embed = PatchEmbed(channels, patch, dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(_positions(n_tokens, dim), requires_grad=False)
        self.blocks = nn.ModuleList(
            [Block(dim, sizes["num_heads"], ratio) for _ in range(sizes["depth"])]
        )
        self.norm = nn.LayerNorm(dim)
        self.decoder_embed = nn.Linear(dim, narrow)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, narrow))
        self.decoder_pos_embed = nn.Parameter(_positions(n_tokens, narrow), requires_grad=False)
        self.decoder_blocks = nn.ModuleList(
            [
                Block(narrow, sizes["decoder_num_heads"], ratio)
                for _ in range(sizes["decoder_depth"])
            ]
        )
        self.decoder_norm = nn.LayerNorm(narrow)
        self.decoder_pred = nn.Linear(narrow, patch * channels)
        self.apply(self._initialise)
        for weight in (self.cls_token, self.mask_token, self.patch_embed.proj.weight):
            nn.init.normal_(weight, std=0.02)

    @staticmethod
    def _initialise(module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)

    def forward(self, signal: Tensor, mask_ratio: float, noise: Tensor | None = None) -> Tensor:
        """Loss of signals (n, channels, times); `noise` (n, tokens) chooses what is hidden."""
        x = self.patch_embed(signal) + self.pos_embed[:, 1:]
        n, length, dim = x.shape
        noise = torch.rand(n, length, device=x.device) if noise is None else noise
        shuffle = torch.argsort(noise, dim=1)
        restore = torch.argsort(shuffle, dim=1)
        n_kept = int(length * (1 - mask_ratio))
        x = torch.gather(x, 1, shuffle[:, :n_kept].unsqueeze(-1).repeat(1, 1, dim))
        mask = torch.ones(n, length, device=x.device)
        mask[:, :n_kept] = 0
        mask = torch.gather(mask, 1, restore)
        cls = (self.cls_token + self.pos_embed[:, :1]).expand(n, -1, -1)
        x = torch.cat([cls, x], dim=1)
        for block in self.blocks:
            x = block(x)
        prediction = self._decode(self.norm(x), restore)
        target = signal.transpose(1, 2).reshape(n, length, -1)
        error = ((prediction - target) ** 2).mean(dim=-1)
        return (error * mask).sum() / mask.sum()

    def _decode(self, x: Tensor, restore: Tensor) -> Tensor:
        x = self.decoder_embed(x)
        n, length = restore.shape
        hidden = self.mask_token.repeat(n, length + 1 - x.shape[1], 1)
        tokens = torch.cat([x[:, 1:], hidden], dim=1)
        tokens = torch.gather(tokens, 1, restore.unsqueeze(-1).repeat(1, 1, x.shape[2]))
        x = torch.cat([x[:, :1], tokens], dim=1) + self.decoder_pos_embed
        for block in self.decoder_blocks:
            x = block(x)
        made: Tensor = self.decoder_pred(self.decoder_norm(x))[:, 1:]
        return made


class SignalFiles(Dataset[Tensor]):
    """Section 1.3: one `.npy` file an item, read and cut when it is asked for."""

    def __init__(self, folder: Path, n_channels: int, n_times: int) -> None:
        self.paths = sorted(folder.rglob("*.npy"))
        self.n_channels, self.n_times = n_channels, n_times

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        data = np.load(self.paths[index])
        if data.shape[1] > self.n_times:
            start = np.random.randint(0, data.shape[1] - self.n_times + 1)  # noqa: NPY002 - as most do
            data = data[:, start : start + self.n_times]
        else:
            old, new = np.linspace(0, 1, data.shape[1]), np.linspace(0, 1, self.n_times)
            data = np.stack([np.interp(new, old, row) for row in data])
        if data.shape[0] < self.n_channels:
            repeats = math.ceil(self.n_channels / data.shape[0])
            data = np.tile(data, (repeats, 1))[: self.n_channels]
        elif data.shape[0] > self.n_channels:
            first = np.random.randint(0, data.shape[0] - self.n_channels + 1)  # noqa: NPY002
            data = data[first : first + self.n_channels]
        return torch.from_numpy(data / 10.0).float()


def masked_steps(
    folder: Path,
    sizes: Mapping[str, Any],
    training: Mapping[str, Any],
    device: str,
    *,
    precision: str = "no",
) -> Iterator[float]:
    """Stage A, one step for each item of the iterator: the loss; `bf16` in autocast, as ours."""
    data = SignalFiles(folder, sizes["n_channels"], sizes["n_times"])
    loader = DataLoader(data, batch_size=training["batch_size"], shuffle=True, drop_last=True)
    model = MaskedAutoencoder(sizes).to(device).train()
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": training["weight_decay"]},
    ]
    optimizer = torch.optim.AdamW(groups, lr=training["lr"], betas=training["betas"])
    passes, warm_up = training["passes"], training["warmup_passes"]
    for number in range(passes):
        for place, signal in enumerate(loader):
            progress = number + place / len(loader)
            rate = training["lr"] * progress / warm_up
            if progress >= warm_up:
                turn = math.pi * (progress - warm_up) / (passes - warm_up)
                rate = training["lr"] * 0.5 * (1 + math.cos(turn))
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.zero_grad()
            with torch.autocast(
                torch.device(device).type, torch.bfloat16, enabled=precision == "bf16"
            ):
                loss: Tensor = model(signal.to(device), training["mask_ratio"])
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), training["max_grad_norm"])
            optimizer.step()
            yield loss.item()


class ChannelAttention(nn.Module):
    """Section 3.2, step 2: heads of 250 // 4 with dropout on the weights."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        inner = width // heads * heads
        self.heads = heads
        self.query_projection = nn.Linear(width, inner)
        self.key_projection = nn.Linear(width, inner)
        self.value_projection = nn.Linear(width, inner)
        self.out_projection = nn.Linear(inner, width)
        self.dropout = nn.Dropout(0.25)

    def forward(self, x: Tensor) -> Tensor:
        """(n, tokens, width) to the same."""
        n, length, _ = x.shape
        q = self.query_projection(x).view(n, length, self.heads, -1)
        k = self.key_projection(x).view(n, length, self.heads, -1)
        v = self.value_projection(x).view(n, length, self.heads, -1)
        scores = torch.einsum("blhe,bshe->bhls", q, k) / math.sqrt(q.shape[-1])
        weights = self.dropout(torch.softmax(scores, dim=-1))
        mixed = torch.einsum("bhls,bshd->blhd", weights, v)
        made: Tensor = self.out_projection(mixed.reshape(n, length, -1))
        return made


class ChannelLayer(nn.Module):
    """Section 3.2, step 2: post-norm layer, feed-forward by convolutions of width 1."""

    def __init__(self, width: int, heads: int, feedforward: int) -> None:
        super().__init__()
        self.attention = ChannelAttention(width, heads)
        self.conv1 = nn.Conv1d(width, feedforward, 1)
        self.conv2 = nn.Conv1d(feedforward, width, 1)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.dropout = nn.Dropout(0.25)

    def forward(self, x: Tensor) -> Tensor:
        """(n, tokens, width) to the same."""
        x = self.norm1(x + self.dropout(self.attention(x)))
        y = self.dropout(functional.gelu(self.conv1(x.transpose(-1, 1))))
        y = self.dropout(self.conv2(y).transpose(-1, 1))
        made: Tensor = self.norm2(x + y)
        return made


class Atms(nn.Module):
    """Section 3.2, without what is never used; all channels are kept, as our default keeps them."""

    def __init__(self, n_channels: int, n_times: int, n_features: int) -> None:
        super().__init__()
        self.value_embedding = nn.Linear(n_times, n_times)
        self.subject_embedding = nn.Embedding(10, n_times)
        place = torch.arange(n_channels)[:, None]
        rate = torch.exp(torch.arange(0, n_times, 2) * (-math.log(10000.0) / n_times))
        code = torch.zeros(n_channels, n_times)
        code[:, 0::2] = torch.sin(place * rate)
        code[:, 1::2] = torch.cos(place * rate)
        self.register_buffer("pe", code[None])
        self.dropout = nn.Dropout(0.25)
        self.layer = ChannelLayer(n_times, 4, 256)
        self.norm = nn.LayerNorm(n_times)
        self.tsconv = nn.Sequential(
            nn.Conv2d(1, 40, (1, 25)),
            nn.AvgPool2d((1, 51), (1, 5)),
            nn.BatchNorm2d(40),
            nn.ELU(),
            nn.Conv2d(40, 40, (n_channels, 1)),
            nn.BatchNorm2d(40),
            nn.ELU(),
            nn.Dropout(0.5),
        )
        self.projection = nn.Conv2d(40, 40, (1, 1))
        n_inputs = 40 * ((n_times - 24 - 51) // 5 + 1)
        self.proj1 = nn.Linear(n_inputs, n_features)
        self.proj2 = nn.Sequential(nn.GELU(), nn.Linear(n_features, n_features), nn.Dropout(0.5))
        self.proj_norm = nn.LayerNorm(n_features)
        self.logit_scale = nn.Parameter(torch.ones([]) * np.log(1 / 0.07))

    def forward(self, eeg: Tensor, subject_ids: Tensor) -> Tensor:
        """(n, channels, times) to (n, features)."""
        tokens = self.value_embedding(eeg) + self.pe
        subject = self.subject_embedding(subject_ids).unsqueeze(1)
        tokens = self.dropout(torch.cat([subject, tokens], dim=1))
        x = self.norm(self.layer(tokens))[:, 1:]
        x = self.projection(self.tsconv(x.unsqueeze(1)))
        x = x.permute(0, 2, 3, 1).contiguous().view(x.shape[0], -1)
        x = self.proj1(x)
        made: Tensor = self.proj_norm(x + self.proj2(x))
        return made


class EpochItems(Dataset[tuple[Tensor, ...]]):
    """Section 3.1: all epochs in memory, one repetition an item, its vectors looked up."""

    def __init__(self, folder: Path) -> None:
        self.eeg = torch.from_numpy(np.load(folder / "eeg.npy")).float()
        self.images = np.load(folder / "image_ids.npy")
        self.subjects = np.load(folder / "subject_ids.npy")
        self.features = torch.from_numpy(np.load(folder / "features" / "ViT-H-14.npy")).float()
        self.texts = torch.from_numpy(np.load(folder / "features" / "ViT-H-14.text.npy")).float()

    def __len__(self) -> int:
        return len(self.eeg)

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        image = self.images[index]
        subject = torch.tensor(self.subjects[index])
        return self.eeg[index], subject, self.texts[image], self.features[image]


def contrast(eeg: Tensor, target: Tensor, scale: Tensor) -> Tensor:
    """Symmetric cross-entropy over the batch."""
    logits = scale * eeg @ target.T
    rows = torch.arange(len(eeg), device=eeg.device)
    return (functional.cross_entropy(logits, rows) + functional.cross_entropy(logits.T, rows)) / 2


def retrieval_steps(
    folder: Path, batch_size: int, lr: float, n_passes: int, device: str
) -> Iterator[float]:
    """ATM-S by retrieval, one step for each item of the iterator: the loss."""
    data = EpochItems(folder)
    loader = DataLoader(data, batch_size=batch_size, shuffle=True, drop_last=True)
    model = Atms(data.eeg.shape[1], data.eeg.shape[2], data.features.shape[1]).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    for _ in range(n_passes):
        for batch in loader:
            eeg, subjects, texts, images = (part.to(device) for part in batch)
            optimizer.zero_grad()
            made = model(eeg, subjects)
            images = images / images.norm(dim=-1, keepdim=True)
            texts = texts / texts.norm(dim=-1, keepdim=True)
            loss = 0.99 * contrast(made, images, model.logit_scale)
            loss = loss + 0.01 * contrast(made, texts, model.logit_scale)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            yield loss.item()
