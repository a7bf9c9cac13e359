"""A world model of long steps: which view follows a chunk of actions, said in a few numbers.

It is the upper level of hierarchical planning with latent world models (arXiv 2604.03208): an
encoder compresses the actions of a chunk into a macro-action, and a predictor says which latents
follow it. Both are trained together, so that a macro-action is whatever of a chunk helps to
predict. The latents are those of the world model beneath, for which the predictions are goals.

There is no token of the pose. In planning, the pose after a macro-action is unknown: what it would
be integrated from, the actions of the chunk, is just what the macro-action leaves out. Where the
hand is shows in the latents instead. Nor does it look back: it is given the present view only, as
V-JEPA 2-AC is when it plans.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vjepa_gym.learning.layers import (
    NORM_EPSILON,
    Block,
    Rope,
    RopeForm,
    check_heads,
    grid_positions,
    initialise,
    run_blocks,
)
from vjepa_gym.world_models.ac_predictor import ACTION_FLOOR
from vjepa_gym.world_models.encoder import normalise_tokens
from vjepa_gym.world_models.presets import ModelConfig

CPU_TOKENS, GPU_TOKENS = 4_096, 131_072
"""Tokens that pass the predictor at once: more would fall out of a processor's cache, or of a
GPU's memory."""
LEAST_VARIANCE = 1e-6
"""Variance of a direction of macro-actions, as a part of the largest, below which it is dead."""


@dataclass(kw_only=True)
class MacroModelConfig:
    """Sizes of a macro model; the defaults fit the model `tiny`."""

    stride: int = 4
    """Control steps of a chunk: how far one prediction leads. At 0.2 to 0.3 s a settled move, four
    are about the second from which on long steps plan better than short ones (arXiv 2604.03208)."""
    dim: int = 4
    """Numbers of a macro-action, as in arXiv 2604.03208."""
    horizon: int = 3
    """Predictions that are fed to one another in training: how far a search should look ahead."""
    action_width: int = 64
    """Hidden features of the encoder of actions."""
    width: int = 96
    """Features of a token of the predictor."""
    depth: int = 3
    """Transformer blocks."""
    heads: int = 4
    """Attention heads; each has an even number of features, at least 6."""
    mlp_ratio: float = 4.0
    """Hidden features of an MLP over `width`."""

    def __post_init__(self) -> None:
        check_heads(self.width, self.heads)
        for name in ("stride", "dim", "horizon", "action_width", "depth"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.mlp_ratio <= 0:
            raise ValueError(f"mlp_ratio must be positive, got {self.mlp_ratio}")


class MacroModel(nn.Module):
    """Encodes chunks of actions, and predicts the latents after each.

    What it predicts is added to the latents that it is given, since little of a view changes.

    Attributes:
        config: Sizes of everything.
        mean: Of the macro-actions in the training data; 0 once `standardise` was called.
        std: Their spread along each axis, which are uncorrelated; 1 likewise.
    """

    mean: Float[Tensor, " macro"]
    std: Float[Tensor, " macro"]
    action_scale: Float[Tensor, "7"]

    def __init__(self, config: MacroModelConfig, model: ModelConfig) -> None:
        """Draw new weights from torch's default generator.

        Args:
            config: Sizes.
            model: Of the world model whose latents it predicts.
        """
        super().__init__()
        self.config = config
        latent_width = model.encoder.width
        self.blocks = nn.ModuleList(
            Block(config.width, config.heads, config.mlp_ratio) for _ in range(config.depth)
        )
        self.embed_latents = nn.Linear(latent_width, config.width)
        self.norm = nn.LayerNorm(config.width, eps=NORM_EPSILON)
        self.project = nn.Linear(config.width, latent_width)
        initialise(self, torch.default_generator)
        # PyTorch's own first weights: macro-actions begin at a scale that says something.
        self.action_encoder = nn.Sequential(
            nn.Linear(7 * config.stride, config.action_width),
            nn.GELU(),
            nn.Linear(config.action_width, config.dim),
        )
        self.embed_macro = nn.Linear(config.dim, config.width)
        self.register_buffer("action_scale", torch.ones(7))
        self.register_buffer("mean", torch.zeros(config.dim))
        self.register_buffer("std", torch.ones(config.dim))

    @property
    def stride(self) -> int:
        """Control steps that a macro-action stands for."""
        return self.config.stride

    @property
    def dim(self) -> int:
        """Numbers of a macro-action."""
        return self.config.dim

    def encode_actions(
        self, chunks: Float[Tensor, "*batch stride 7"]
    ) -> Float[Tensor, "*batch macro"]:
        """Return the macro-action of each chunk of achieved displacements [m, rad, closedness]."""
        return self.action_encoder((chunks / self.action_scale).flatten(-2))

    def forward(
        self, latents: Float[Tensor, "batch tokens dim"], macros: Float[Tensor, "batch macro"]
    ) -> Float[Tensor, "batch tokens dim"]:
        """Return the latents predicted a stride later, every token normalised.

        Args:
            latents: Normalised tokens of a view, a square grid by row, then column.
            macros: What is done.
        """
        side = math.isqrt(latents.shape[1])
        if side**2 != latents.shape[1]:
            raise ValueError(f"a view has a square grid of tokens, got {latents.shape[1]} tokens")
        places = nn.functional.pad(grid_positions(1, side, side, latents.device), (0, 0, 1, 0))
        # The macro-action has no place in the picture: rotary positions leave it as it is.
        rope = Rope.at(places, self.config.width // self.config.heads, RopeForm.interleaved)
        tokens = [self.embed_macro(macros)[:, None], self.embed_latents(latents)]
        x = run_blocks(self.blocks, torch.cat(tokens, 1), rope)
        return normalise_tokens(latents + self.project(self.norm(x[:, 1:])))

    def roll_out(
        self,
        latents: Float[Tensor, "batch tokens dim"],
        macros: Float[Tensor, "batch horizon macro"],
    ) -> Float[Tensor, "batch horizon tokens dim"]:
        """Return the latents after each macro-action, each predicted from those before."""
        predicted = []
        for macro in macros.unbind(1):
            latents = self(latents, macro)
            predicted.append(latents)
        return torch.stack(predicted, 1)

    def imagine(
        self,
        latents: Float[Tensor, "n tokens dim"],
        macros: Float[Tensor, "n samples horizon macro"],
    ) -> Float[Tensor, "n samples horizon tokens dim"]:
        """Return what would be seen after each macro-action of some sequences.

        Gradients reach macro-actions only, and only if they want them.

        Args:
            latents: The present view of each robot.
            macros: What each is supposed to do.
        """
        robots, samples = macros.shape[:2]
        most = GPU_TOKENS if latents.device.type == "cuda" else CPU_TOKENS
        together = max(1, most // latents.shape[1])
        start = latents[:, None].expand(-1, samples, -1, -1).flatten(0, 1).split(together)
        parts = macros.flatten(0, 1).split(together)
        with torch.set_grad_enabled(torch.is_grad_enabled() and macros.requires_grad):
            predicted = [self.roll_out(*part) for part in zip(start, parts, strict=True)]
        return torch.cat(predicted).unflatten(0, (robots, samples))

    @torch.no_grad()
    def fit_normalisation(self, actions: Float[Tensor, "moves 7"]) -> None:
        """Scale actions by their spread in these data from now on."""
        reach = actions.square().mean(0).sqrt()
        self.action_scale.copy_(reach.maximum(reach.new_tensor(ACTION_FLOOR)))

    @torch.no_grad()
    def standardise(self, chunks: Float[Tensor, "chunks stride 7"]) -> None:
        """Turn and scale macro-actions so that those of `chunks` have mean 0 and covariance 1.

        The last layer of the encoder and the first of the predictor take up the change, so that
        what is predicted from a chunk stays the same. A search then knows where macro-actions lie.
        """
        macros = self.encode_actions(chunks).double()
        offset = macros.mean(0)
        variance, axes = torch.linalg.eigh((macros - offset).T.cov(correction=0).view(self.dim, -1))
        scale = variance.clamp_min(LEAST_VARIANCE * float(variance.max().clamp_min(1e-12))).sqrt()
        spread, gather = axes * scale, (axes / scale).T
        last, first = self.action_encoder[-1], self.embed_macro
        assert isinstance(last, nn.Linear)
        first.bias.add_((first.weight.double() @ offset).to(first.bias.dtype))
        first.weight.copy_(first.weight.double() @ spread)
        last.bias.copy_(gather @ (last.bias.double() - offset))
        last.weight.copy_(gather @ last.weight.double())
        standard = self.encode_actions(chunks)
        self.mean.copy_(standard.mean(0))
        self.std.copy_(standard.std(0, correction=0))
