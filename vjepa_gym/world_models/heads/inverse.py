"""Goal-conditioned inverse dynamics: which actions lead from this view to that one.

It is read off the frozen latents in one pass, without imagining anything: a policy by itself, and a
source of proposals for a planner (in the spirit of arXiv 2605.08732).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from vjepa_gym.world_models.ac_predictor import ACTION_FLOOR, STATE_FLOOR
from vjepa_gym.world_models.base import Context, Target
from vjepa_gym.world_models.heads.pose_reader import PoseReader
from vjepa_gym.world_models.poses import ANGLES, wrap_angle
from vjepa_gym.world_models.presets import ModelConfig

MOVED = 6
"""Components of an action that displace and turn the hand."""
OPEN, HOLD, CLOSE = range(3)
"""What the gripper does in a step."""
GRIPPER_MOVES = 0.05
"""Least change of closedness that counts as opening or closing."""
LEAST_SPREAD, MOST_SPREAD = 0.02, 4.0
"""Bounds of the spread, in units of the usual displacement of a step."""


@dataclass(kw_only=True)
class InverseDynamicsConfig:
    """Sizes of the inverse-dynamics head."""

    horizon: int = 4
    """Actions that it gives at once."""
    goal_steps: int = 20
    """Most steps between a view and a goal that it is trained on."""
    token_width: int = 32
    """Features that are kept of each token, in the same way everywhere in the image."""
    width: int = 256
    """Features of a hidden layer."""
    depth: int = 2
    """Hidden layers after the first."""
    reader_width: int = 0
    """Features of the two hidden layers that read the hand's pose off a view; 0 for no reader. How
    far the pose in the goal's view is away then need not be found out a second time."""
    key_poses: bool = False
    """Whether it also tells the next key pose: where the hand is when it next opens or closes on
    its way, or else at the goal (keyframes of James and Davison, arXiv 2105.14829). That is where
    the object is that will be gripped, or put down."""

    def __post_init__(self) -> None:
        for name in ("horizon", "goal_steps", "token_width", "width"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        for name in ("depth", "reader_width"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be 0 or more, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class ActionChunk:
    """What is to be done next, as distributions; displacements in units of the head's scale.

    Attributes:
        median: Displacement and rotation of each step.
        spread: Mean absolute deviation from it.
        gripper: Logits of opening, holding and closing.
        key: The next key pose as `InverseDynamics.normalise` has it, if that is told.
        read: The poses that are read off the present view and the goal's, likewise, if they are.
    """

    median: Float[Tensor, "n horizon 6"]
    spread: Float[Tensor, "n horizon 6"]
    gripper: Float[Tensor, "n horizon 3"]
    key: Float[Tensor, "n 7"] | None = None
    read: Float[Tensor, "n 2 7"] | None = None


class InverseDynamics(nn.Module):
    """Tells the next few actions from the present view, the goal's and the pose; a `Proposer`.

    Where something is lies in which tokens show it, so that all tokens are looked at in order.

    Attributes:
        config: Its sizes.
    """

    state_mean: Float[Tensor, "7"]
    state_scale: Float[Tensor, "7"]
    action_scale: Float[Tensor, "6"]
    gripper_step: Float[Tensor, "3"]

    def __init__(self, config: InverseDynamicsConfig, model: ModelConfig) -> None:
        """Draw new weights.

        Args:
            config: Sizes of the head.
            model: Sizes of the world model whose latents it is given.
        """
        super().__init__()
        self.config = config
        tokens = (model.encoder.image_size // model.encoder.patch_size) ** 2
        self.token_embed = nn.Linear(model.encoder.width, config.token_width)
        # The present tokens and how the goal's differ; the pose, and how the goal's, as it is read,
        # differs from it and from how itself is read: what is misread alike does not matter then.
        # The steps left, if they are known.
        poses = 21 if config.reader_width else 7
        self.first = nn.Linear(2 * tokens * config.token_width + poses + 2, config.width)
        self.reader = None
        if config.reader_width:
            self.reader = PoseReader(
                model.encoder.width, tokens, config.token_width, config.reader_width
            )
        self.layers = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(config.width), nn.Linear(config.width, config.width))
            for _ in range(config.depth)
        )
        self.last = nn.Linear(config.width, config.horizon * (2 * MOVED + 3))
        self.key = nn.Linear(config.width, 7) if config.key_poses else None
        self.register_buffer("state_mean", torch.zeros(7))
        self.register_buffer("state_scale", torch.ones(7))
        self.register_buffer("action_scale", torch.ones(MOVED))
        self.register_buffer("gripper_step", torch.tensor([-1.0, 0.0, 1.0]))

    def forward(
        self,
        latents: Float[Tensor, "n tokens dim"],
        goals: Float[Tensor, "n tokens dim"],
        poses: Float[Tensor, "n 7"],
        steps: Int64[Tensor, " n"] | None = None,
    ) -> ActionChunk:
        """Return what leads from a view to a goal.

        Args:
            latents: Of the present view.
            goals: Of the view that is wanted.
            poses: The present pose.
            steps: In how many steps the goal is to be reached; a 0 says that nobody knows, as None
                does for all.
        """
        now, wanted = self.token_embed(latents), self.token_embed(goals)
        state = self.normalise(poses)
        parts = [now.flatten(1), (wanted - now).flatten(1), state]
        read = None
        if self.reader is not None:
            read = torch.stack([self.reader(latents), self.reader(goals)], 1)
            parts += [read[:, 1] - state, read[:, 1] - read[:, 0]]
        x = self.first(torch.cat([*parts, self._embed_steps(steps, poses)], -1))
        for layer in self.layers:
            x = x + layer(nn.functional.gelu(x))
        x = nn.functional.gelu(x)
        told = self.last(x).unflatten(-1, (self.config.horizon, -1))
        median, spread, gripper = told.split([MOVED, MOVED, 3], -1)
        spread = nn.functional.softplus(spread).clamp(LEAST_SPREAD, MOST_SPREAD)
        key = None if self.key is None else state + self.key(x)
        return ActionChunk(median=median, spread=spread, gripper=gripper, key=key, read=read)

    def read(self, latents: Float[Tensor, "n tokens dim"]) -> Float[Tensor, "n 7"]:
        """Return the pose that is seen in each view, as `normalise` has it.

        Raises:
            ValueError: This head does not read poses.
        """
        if self.reader is None:
            raise ValueError("this head reads no poses: train one with reader_width above 0")
        return self.reader(latents)

    def normalise(self, poses: Float[Tensor, "*n 7"]) -> Float[Tensor, "*n 7"]:
        """Return poses beside the usual one, in units of how much they vary."""
        away = poses - self.state_mean
        away = torch.cat([away[..., :3], wrap_angle(away[..., ANGLES]), away[..., 6:]], -1)
        return away / self.state_scale

    @torch.no_grad()
    def propose(
        self,
        context: Context,
        target: Target,
        *,
        samples: int,
        horizon: int,
        generator: torch.Generator,
    ) -> Float[Tensor, "n samples horizon 7"]:
        """Return action sequences that may lead to the target; the first is the most likely.

        Args:
            context: Its newest view and pose are looked at.
            target: The goal, and how many steps are left for it.
            samples: How many a robot.
            horizon: Their length, and in how many steps they are to reach the goal if no fewer are
                left: what a planner looks ahead. Steps beyond those that the head was made for
                hold still.
            generator: Draws all but the first.

        Raises:
            ValueError: Nothing is asked for.
        """
        if min(samples, horizon) < 1:
            raise ValueError(f"samples and horizon must be positive, got {samples} and {horizon}")
        chunk = self._chunk(context, target, horizon)
        kept, device = min(horizon, self.config.horizon), chunk.median.device
        # The same for every robot, so that none depends on how many there are.
        draws = (1, samples, self.config.horizon)
        noise = torch.rand((*draws, MOVED), generator=generator, device=generator.device)
        choice = torch.rand((*draws, 3), generator=generator, device=generator.device)
        noise, choice = noise.to(device), choice.to(device)
        noise[:, 0], choice[:, 0] = 0.5, 0.5
        moves = chunk.median[:, None] + chunk.spread[:, None] * _laplace(noise)
        # The largest of logits with Gumbel noise is a draw from them.
        gripper = chunk.gripper[:, None] - torch.log(-torch.log(choice.clamp(1e-6, 1 - 1e-6)))
        closing = self.gripper_step[gripper.argmax(-1)]
        actions = torch.cat([moves * self.action_scale, closing[..., None]], -1)[:, :, :kept]
        return nn.functional.pad(actions, (0, 0, 0, horizon - kept))

    @torch.no_grad()
    def surprise(
        self, context: Context, target: Target, *, horizon: int
    ) -> Callable[[Float[Tensor, "n samples horizon 7"]], Float[Tensor, "n samples"]]:
        """Return what gives the negative log-likelihood of action sequences [nats].

        Displacements are Laplace, each by itself, about the median with the spread that the head
        tells; the gripper opens, holds or closes with the head's odds. Constants are left out, and
        so are steps beyond those that the head was made for.

        Args:
            context: Its newest view and pose are looked at.
            target: The goal, and how many steps are left for it.
            horizon: How many actions the sequences have.
        """
        chunk = self._chunk(context, target, horizon)
        kept = min(horizon, self.config.horizon)
        median, spread = chunk.median[:, None, :kept], chunk.spread[:, None, :kept]
        odds = chunk.gripper[:, None, :kept].log_softmax(-1)

        def negative_log_likelihood(
            actions: Float[Tensor, "n samples horizon 7"],
        ) -> Float[Tensor, "n samples"]:
            moves = actions[:, :, :kept, :MOVED] / self.action_scale
            kinds = gripper_moves(actions[:, :, :kept, 6])[..., None]
            chosen = odds.expand(-1, actions.shape[1], -1, -1).gather(-1, kinds)[..., 0]
            return ((moves - median).abs() / spread).sum((2, 3)) - chosen.sum(2)

        return negative_log_likelihood

    @torch.no_grad()
    def fit_normalisation(
        self, poses: Float[Tensor, "frames 7"], actions: Float[Tensor, "moves 7"]
    ) -> None:
        """Scale poses and displacements by their spread in these data from now on."""
        angles = poses[:, ANGLES]
        mean = poses.mean(0)
        mean[ANGLES] = torch.atan2(angles.sin().mean(0), angles.cos().mean(0))
        away = poses - mean
        away[:, ANGLES] = wrap_angle(away[:, ANGLES])
        spread = away.square().mean(0).sqrt()
        reach = actions[:, :MOVED].square().mean(0).sqrt()
        self.state_mean.copy_(mean)
        self.state_scale.copy_(spread.maximum(spread.new_tensor(STATE_FLOOR)))
        self.action_scale.copy_(reach.maximum(reach.new_tensor(ACTION_FLOOR[:MOVED])))
        kinds = gripper_moves(actions[:, 6])
        for kind in (OPEN, CLOSE):
            if (kinds == kind).any():
                self.gripper_step[kind] = actions[kinds == kind, 6].median()

    def _chunk(self, context: Context, target: Target, horizon: int) -> ActionChunk:
        """Return what leads to the target, in as many steps as are left but no more than these."""
        poses = context.poses[:, -1]
        most = torch.full((len(poses),), horizon, device=poses.device)
        steps = most if target.steps is None else target.steps.clamp(min=1).minimum(most)
        return self(context.latents[:, -1], target.latents, poses, steps)

    def _embed_steps(
        self, steps: Int64[Tensor, " n"] | None, like: Float[Tensor, "n 7"]
    ) -> Float[Tensor, "n 2"]:
        """Return whether the steps left are known, and their logarithm as a part of the most."""
        if steps is None:
            return like.new_zeros(len(like), 2)
        known = steps.to(like.device) > 0
        few = steps.to(like.device).clamp(1, self.config.goal_steps).to(like.dtype)
        amount = few.log() / math.log(max(2, self.config.goal_steps))
        return torch.stack([known.to(like.dtype), torch.where(known, amount, 0.0)], -1)


def gripper_moves(changes: Float[Tensor, "*n"]) -> Int64[Tensor, "*n"]:
    """Return for each change of closedness whether it is `OPEN`, `HOLD` or `CLOSE`."""
    return HOLD + (changes > GRIPPER_MOVES).long() - (changes < -GRIPPER_MOVES).long()


def _laplace(uniform: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Return draws from the Laplace distribution of mean absolute deviation 1; 0 for 0.5."""
    away = (uniform - 0.5).clamp(-0.4999, 0.4999)
    return -away.sign() * torch.log1p(-2 * away.abs())
