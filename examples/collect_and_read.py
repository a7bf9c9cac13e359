"""Record a few episodes in DROID's layout, read one back: `python examples/collect_and_read.py`."""

from pathlib import Path

from vjepa_gym import kinematics
from vjepa_gym.datasets.storage.store import EpisodeStore
from vjepa_gym.experiments.jobs.collect import CollectConfig, run_collect


def main(root: Path = Path("data/example"), episodes: int = 4, workers: int = 1) -> None:
    """Record what is missing of `episodes` in `root`, and look at the first."""
    run_collect(CollectConfig(root=str(root), episodes=episodes, steps=8, workers=workers))
    store = EpisodeStore(root)
    episode = store[0]
    achieved = kinematics.difference(episode.poses[:-1], episode.poses[1:])
    longest = 100 * abs(achieved[:, :3]).max()
    print(f"{len(store)} episodes in {root}; the first was {episode.policy!r}:")
    print(f"  images {episode.images['left'].shape}, poses {episode.poses.shape}")
    print(f"  {len(episode)} moves, of {longest:.1f} cm along an axis at most")


if __name__ == "__main__":
    main()
