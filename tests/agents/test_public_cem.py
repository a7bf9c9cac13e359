"""The same plans as the public code, run from a checkout of facebookresearch/vjepa2.

`VJEPA2_SOURCE` points at it.
"""

import importlib.util
import os
import sys
from pathlib import Path

import pytest
import torch

from vjepa_gym.agents.cem import CEM, paper, released

pytestmark = pytest.mark.external
TOKENS, DIM = 4, 8


@pytest.fixture
def public(monkeypatch):
    if "VJEPA2_SOURCE" not in os.environ:
        pytest.skip("VJEPA2_SOURCE does not point at the public code")
    source = Path(os.environ["VJEPA2_SOURCE"])
    monkeypatch.syspath_prepend(str(source))
    torch.set_default_dtype(torch.float64)  # or rounding decides which sample is the cheaper
    before = set(sys.modules)
    spec = importlib.util.spec_from_file_location(
        "mpc_utils", source / "notebooks" / "utils" / "mpc_utils.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    torch.set_default_dtype(torch.float32)
    for name in set(sys.modules) - before:
        if name.split(".")[0] == "src":
            del sys.modules[name]


class Dynamics:
    """A nonlinear toy whose every step depends on the one before."""

    def __init__(self, seed):
        generator = torch.Generator().manual_seed(seed)
        self.of_latents = torch.randn(DIM, DIM, generator=generator)
        self.of_actions = torch.randn(7, TOKENS * DIM, generator=generator)
        self.now, self.goal = torch.randn(2, 1, 1, TOKENS, DIM, generator=generator)

    def step(self, latents, action):
        push = (action * torch.tensor([9.0] * 3 + [1.0] * 4)) @ self.of_actions
        return (latents @ self.of_latents + push.unflatten(-1, (TOKENS, DIM))).tanh()

    def public(self, frames, actions, poses):
        """As the public search wants it."""
        return self.step(frames[:, -1], actions[:, -1])[:, None], poses[:, -1:]

    def cost(self, actions):
        latents = self.now[0, 0].expand(*actions.shape[:2], TOKENS, DIM)
        for action in actions.unbind(2):
            latents = self.step(latents, action)
        return (latents - self.goal[0, 0]).abs().flatten(-2).mean(-1)


@pytest.mark.parametrize("make", [paper, released])
@pytest.mark.parametrize("seed", range(5))
def test_the_same_random_numbers_give_the_same_plan(public, make, seed):
    config, dynamics = make(), Dynamics(seed)
    torch.manual_seed(seed)
    theirs = public.cem(
        context_frame=dynamics.now,
        context_pose=torch.zeros(1, 1, 7),
        goal_frame=dynamics.goal,
        world_model=dynamics.public,
        rollout=config.horizon,
        cem_steps=config.num_iterations,
        momentum_mean=config.mean_momentum,
        momentum_std=config.std_momentum,
        samples=config.num_samples,
        topk=config.num_elites,
        maxnorm=config.max_translation,
    )
    ours = CEM(config, seed=seed).plan(dynamics.cost, 1).actions
    assert torch.allclose(ours, theirs, atol=1e-12)
