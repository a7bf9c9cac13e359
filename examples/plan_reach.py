"""Reach for a goal image with a world model, and keep a video: `python examples/plan_reach.py`."""

from pathlib import Path

from vjepa_gym.agents.cem import CEM, CEMConfig, fast
from vjepa_gym.agents.energies import L1
from vjepa_gym.agents.planning import PlanningAgent
from vjepa_gym.envs import REACH
from vjepa_gym.experiments.jobs.evaluate import make_envs
from vjepa_gym.experiments.pictures import write_episode_video
from vjepa_gym.experiments.rollout import rollout
from vjepa_gym.world_models.vjepa2_ac import load_world_model


def main(
    model: str = "tiny",
    search: CEMConfig | None = None,
    seed: int = 0,
    video: Path = Path("plan_reach.mp4"),
) -> None:
    """Run one episode with a shipped model, or with one from a folder of your own."""
    world_model = load_world_model(model)
    agent = PlanningAgent(world_model, CEM(search or fast()), L1())
    envs = make_envs(REACH, 1)
    (record,) = rollout(envs, agent, [seed])
    envs.close()
    write_episode_video(video, record)
    start, end = 100 * record.distances[[0, -1]]
    print(f"{start:.1f} cm from the goal at first, {end:.1f} cm at the end; see {video}.")


if __name__ == "__main__":
    main()
