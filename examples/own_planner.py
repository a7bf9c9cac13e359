"""A planner of your own, without random numbers: `python examples/own_planner.py`."""

import torch

from vjepa_gym.agents.base import Cost, Ended, Plan, Trace
from vjepa_gym.agents.energies import L1
from vjepa_gym.agents.planning import PlanningAgent
from vjepa_gym.experiments.jobs.evaluate import make_envs
from vjepa_gym.experiments.rollout import rollout
from vjepa_gym.world_models.vjepa2_ac import load_world_model


class CompassSearch:
    """Tries a step along each axis, goes where it is best, and halves steps that lead nowhere."""

    horizon, rounds, limit = 1, 12, 0.075
    reset = staticmethod(lambda: None)  # it remembers nothing

    def plan(self, cost: Cost, n: int, **ignored: object) -> Plan:  # noqa: ARG002
        """Return one action a robot; previous plans and proposals are not heeded."""
        ways = torch.cat([torch.zeros(1, 7), (axes := torch.eye(7)[:3]), -axes])
        at, step, best = torch.zeros(n, 1, 7), torch.full((n,), self.limit), []
        for _ in range(self.rounds):
            tried = at[:, None] + step[:, None, None, None] * ways[None, :, None]
            least, which = cost(tried.clamp_(-self.limit, self.limit)).min(1)  # all robots at once
            at, step = tried[torch.arange(n), which], torch.where(which == 0, step / 2, step)
            best += [least]
        trace = Trace(best=(b := torch.stack(best)), mean=b, std=torch.zeros(len(b), n, 7))
        calls = self.rounds * len(ways)
        return Plan(actions=at, cost=b[-1], trace=trace, evaluations=calls, ended=Ended.iterations)


def main(model: str = "tiny") -> None:
    agent = PlanningAgent(load_world_model(model), CompassSearch(), L1())
    (record,) = rollout(make_envs("vjepa_gym/FrankaReach-v0", 1), agent, [0])
    print(f"{100 * record.distances[-1]:.1f} cm from the goal at the end")


if __name__ == "__main__":
    main()
