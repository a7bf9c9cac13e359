"""An energy of your own: what counts is where the goal differs. `python examples/own_energy.py`."""

from dataclasses import dataclass

from torch import Tensor

from vjepa_gym.agents.base import Imagined, Target
from vjepa_gym.agents.energies import L1, Sum
from vjepa_gym.agents.planners import PLANNERS, make_planner
from vjepa_gym.agents.planning import PlanningAgent
from vjepa_gym.envs import REACH
from vjepa_gym.experiments.jobs.evaluate import make_envs
from vjepa_gym.experiments.rollout import rollout
from vjepa_gym.world_models.vjepa2_ac import load_world_model


@dataclass(frozen=True)
class WorstTokens:
    """The largest differences at the end of each future: a small object cannot be averaged away."""

    share: float = 0.25
    needs_poses = False  # a goal image is enough

    def __call__(self, imagined: Imagined, target: Target) -> Tensor:
        """Return one energy a sample, from latents [n samples horizon tokens dim]."""
        wrong = (imagined.latents[:, :, -1] - target.latents[:, None]).abs().mean(-1)
        return wrong.topk(max(1, int(self.share * wrong.shape[-1])), -1).values.mean(-1)


def main(model: str = "tiny", planner: str = "fast") -> None:
    energy = Sum(((1.0, L1()), (0.5, WorstTokens())))
    search = make_planner(PLANNERS[planner](), seed=0)
    agent = PlanningAgent(load_world_model(model), search, energy)
    (record,) = rollout(envs := make_envs(REACH, 1), agent, [0])
    envs.close()
    print(f"{100 * record.distances[-1]:.1f} cm from the goal at the end")


if __name__ == "__main__":
    main()
