import gymnasium as gym
import numpy as np
import pytest
from toys import SIZE, TOY, ToyReach, picture, toy_envs

from vjepa_gym import kinematics
from vjepa_gym.agents.controls import Expert, HoldStill
from vjepa_gym.experiments.rollout import rollout


class Witness(Expert):
    """Remembers the goals it was given."""

    def __init__(self):
        self.goals = []

    def reset(self, goal, which=None):
        self.goals.append(goal)


class Sightless(HoldStill):
    """Remembers whether it was given poses."""

    def reset(self, goal, which=None):
        self.poses = goal.poses


def test_one_record_a_seed_in_order_whatever_the_number_of_environments():
    for n in (1, 3, 4):
        envs = toy_envs(n)
        records = rollout(envs, Expert(), range(5, 10))
        assert [record.seed for record in records] == [5, 6, 7, 8, 9]
        for record in records:
            _, info = ToyReach().reset(seed=record.seed)
            assert record.distances[0] == pytest.approx(info["distance"])


def test_a_record_holds_what_was_done_and_seen():
    (record,) = rollout(toy_envs(1), Expert(), [3])
    observation, info = ToyReach().reset(seed=3)
    pose = observation["pose"]
    assert record.frames.shape == (11, SIZE, SIZE, 3)
    assert record.actions.shape == (10, 7)
    assert record.distances.shape == (11,)
    assert record.seconds.shape == (10,)
    assert (record.seconds > 0).all()
    for frame, action in zip(record.frames[1:], record.actions, strict=True):
        pose = kinematics.integrate(pose, action)
        assert np.array_equal(frame, picture(pose))
    assert np.array_equal(record.goal_images, info["goal"]["images"])
    assert record.success
    assert record.success_once
    assert record.distances[-1] < 1e-3


def test_only_the_end_counts_as_success_and_once_is_told_apart():
    class Overshoot(Expert):
        arrived = False

        def act(self, observation):
            action = super().act(observation)
            self.arrived |= bool(np.abs(action).max() < 1e-3)
            return np.full_like(action, 0.05) if self.arrived else action

    (record,) = rollout(toy_envs(1), Overshoot(), [3])
    assert record.success_once
    assert not record.success


def test_poses_are_given_to_privileged_agents_only():
    witness, sightless = Witness(), Sightless()
    rollout(toy_envs(2), witness, [0, 1])
    rollout(toy_envs(2), sightless, [0, 1])
    assert witness.goals[0].poses is not None
    assert witness.goals[0].steps == (10,)
    assert sightless.poses is None


def test_what_the_expert_would_do_is_told_to_privileged_agents_only():
    class Curious(HoldStill):
        def act(self, observation):
            self.seen = set(observation)
            return super().act(observation)

    curious = Curious()
    rollout(toy_envs(1), curious, [0])
    assert curious.seen == {"image", "pose"}
    curious.privileged = True
    rollout(toy_envs(1), curious, [0])
    assert curious.seen == {"image", "pose", "expert_action"}


def test_starts_that_are_solved_are_marked():
    records = rollout(toy_envs(2, distance=0.03), HoldStill(), [0, 1])
    assert [record.solved_at_start for record in records] == [True, True]
    (record,) = rollout(toy_envs(1), HoldStill(), [0])
    assert not record.solved_at_start


def test_frames_are_left_out_on_demand_and_json_never_has_them():
    (record,) = rollout(toy_envs(1), HoldStill(), [0], record_frames=False)
    assert record.frames is None
    text = record.to_json()
    assert text["initial_distance"] == text["final_distance"] == record.distances[0]
    assert text["seed"] == 0
    assert len(text["actions"]) == 10
    assert not {"frames", "goal_images"} & set(text)


def test_each_episode_is_told_as_soon_as_it_is_over():
    told = []
    records = rollout(toy_envs(2), HoldStill(), [4, 5, 6], on_episode=told.append)
    assert told == records


def test_environments_that_restart_by_themselves_are_refused():
    toy_envs(1)
    envs = gym.make_vec(TOY, num_envs=1, vectorization_mode="sync")
    with pytest.raises(ValueError, match=r"AutoresetMode\.DISABLED"):
        rollout(envs, HoldStill(), [0])


def test_environments_that_end_apart_are_refused():
    class Impatient(ToyReach):
        def step(self, action):
            observation, reward, _, truncated, info = super().step(action)
            return observation, reward, self.np_random_seed == 1, truncated, info

    disabled = gym.vector.AutoresetMode.DISABLED
    envs = gym.vector.SyncVectorEnv([Impatient, Impatient], autoreset_mode=disabled)
    with pytest.raises(ValueError, match=r"only \[1\] of 2"):
        rollout(envs, HoldStill(), [0, 1])
