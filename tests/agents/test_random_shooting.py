import torch
from planner_contract import PlannerContract, bowl, some_targets

from vjepa_gym.agents.action_space import Gripper
from vjepa_gym.agents.random_shooting import RandomShootingConfig


class TestContract(PlannerContract):
    config = RandomShootingConfig(num_samples=2000, gripper=Gripper.still)
    tolerance = 0.02
    converged_below = None

    def test_a_longer_sequence(self):
        """Nine numbers are beyond trying, but not beyond improving on nothing."""
        plan = self.planner(horizon=3).plan(bowl(some_targets(3)), 3)
        nothing = bowl(some_targets(3))(torch.zeros(3, 1, 3, 7))[:, 0]
        assert (plan.cost < 0.7 * nothing).all()

    def test_steps_of_a_sequence_differ(self):
        wanted = torch.zeros(2, 7)
        wanted[:, 0] = torch.tensor([0.05, -0.05])
        plan = self.planner(horizon=2).plan(lambda a: (a - wanted).square().sum((-2, -1)), 1)
        assert plan.actions[0, 0, 0] > 0.01
        assert plan.actions[0, 1, 0] < -0.01
