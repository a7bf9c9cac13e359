"""An attentive probe: what can be read from tokens by looking at some of them.

V-JEPA judges frozen encoders by such a probe: one learned query gathers from all tokens by
cross-attention, a small network follows, and a linear layer reads (Bardes et al., 2024; V-JEPA 2,
arXiv 2506.09985, section 4). It knows a token's place only by what the token says of it, so that it
asks more of an encoder than a network that is given all tokens in order.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vjepa_gym.learning.probes import Probe, Standardiser

BATCH = 128
WARMUP = 50
"""Steps in which the learning rate rises."""


class AttentiveReader(nn.Module):
    """A learned query that gathers from tokens, then a small network and a linear layer."""

    def __init__(self, width: int, targets: int, heads: int, generator: torch.Generator) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Parameter(0.02 * torch.randn(1, 1, width, generator=generator))
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.key_value = nn.Linear(width, 2 * width)
        self.proj = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        self.head = nn.Linear(width, targets)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=layer.in_features**-0.5, generator=generator)
                nn.init.zeros_(layer.bias)

    def forward(self, tokens: Float[Tensor, "rows tokens dim"]) -> Float[Tensor, "rows targets"]:
        """Return what is read, in standard units."""
        key, value = self.key_value(self.norm1(tokens)).chunk(2, -1)
        query = self.query.expand(len(tokens), -1, -1)
        q, k, v = (x.unflatten(-1, (self.heads, -1)).transpose(1, 2) for x in (query, key, value))
        gathered = nn.functional.scaled_dot_product_attention(q, k, v)
        x = query + self.proj(gathered.transpose(1, 2).flatten(2))
        return self.head((x + self.mlp(self.norm2(x)))[:, 0])


def fit_attentive(
    tokens: Float[Tensor, "rows tokens dim"],
    targets: Float[Tensor, "rows targets"],
    *,
    generator: torch.Generator,
    epochs: int = 8,
    heads: int = 4,
    rate: float = 1e-3,
) -> Probe:
    """Fit an attentive reader with AdamW, warm-up and linear decay, on the absolute error.

    Args:
        tokens: What is read from.
        targets: What is to be read, in any units.
        generator: Of the first weights and of the order of rows; on the CPU.
        epochs: Passes over the rows.
        heads: Of the attention; must divide the width of a token.
        rate: Largest learning rate.

    Raises:
        ValueError: There are fewer than 2 rows, or `heads` does not divide the width.
    """
    if len(tokens) < 2:
        raise ValueError(f"a probe needs at least 2 rows, got {len(tokens)}")
    if tokens.shape[2] % heads:
        raise ValueError(f"heads must divide the width of a token, {tokens.shape[2]}; got {heads}")
    scale = Standardiser.fit(targets)
    wanted = scale.apply(targets)
    reader = AttentiveReader(tokens.shape[2], targets.shape[1], heads, generator)
    reader.to(tokens.device)
    optimiser = torch.optim.AdamW(reader.parameters(), lr=rate, weight_decay=0.01)
    steps = epochs * -(-len(tokens) // BATCH)
    step = 0
    for _ in range(epochs):
        for rows in torch.randperm(len(tokens), generator=generator).split(BATCH):
            step += 1
            now = rate * min(step / WARMUP, 1 - (step - 1) / steps)
            optimiser.param_groups[0]["lr"] = now
            optimiser.zero_grad()
            (reader(tokens[rows]) - wanted[rows]).abs().mean().backward()
            optimiser.step()
    as_they_are = Standardiser(
        mean=torch.zeros((), device=tokens.device), scale=torch.ones((), device=tokens.device)
    )
    return Probe(features=as_they_are, targets=scale, read=reader, chosen=float(epochs))
