"""Draw the README's animations: `python scripts/draw_demos.py [folder] [--seeds name=seed ...]`.

Each shows what the camera sees, the view that the shipped model is to make true, and the energy
between them. Of each task the first seed that succeeds is drawn unless one is named; how many
failed before it is printed, and kept in `demos.txt` beside the files.
"""

import argparse
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vjepa_gym.agents.planning import PlanningAgent
from vjepa_gym.envs import full_id
from vjepa_gym.experiments.factory import Factory, environments
from vjepa_gym.experiments.rollout import EpisodeRecord, rollout
from vjepa_gym.experiments.settings import EnvConfig, PlanningConfig, WorldModelConfig

SCENES = {
    "reach_train": ("reach", "train"),
    "grasp_cup_test": ("grasp_cup", "test"),
    "pick_place_cup_train": ("pick_place_cup", "train"),
    "pick_place_box_test": ("pick_place_box", "test"),
}
"""What is drawn: the task and the lab of each file."""
MOST_TRIED = 20
"""Seeds from 0 on, of which the first that succeeds is drawn."""
MOST_BYTES = 1_500_000
SIZE, SMALL, GAP, LINE = 224, 72, 4, 20
"""Of a view, of the goal's views below it, between them, and of a line of text [px]."""
MILLISECONDS, LAST_MILLISECONDS = 300, 2500
"""Of a frame, and of the last one."""
BLACK, GREY, LIGHT = (31, 35, 40), (120, 128, 138), (225, 229, 234)
BLUE, GREEN, RED = (31, 111, 235), (26, 152, 80), (200, 60, 60)


class Watched:
    """An agent that plans, and what it thought of each observation."""

    def __init__(self, agent: PlanningAgent) -> None:
        """Watch `agent`, which drives one robot."""
        self.privileged = agent.privileged
        self.views: list[int] = []
        self.energies: list[float] = []
        self._agent = agent

    def reset(self, goal: Any, which: Any = None) -> None:
        """Begin anew towards `goal`."""
        self.views, self.energies = [], []
        self._agent.reset(goal, which)

    def act(self, observation: Any) -> np.ndarray:
        """Return what the agent does."""
        action = self._agent.act(observation)
        self.views.append(int(self._agent.current[0]))
        self.energies.append(float(self._agent.energy_now[0]))
        return action


@dataclass(frozen=True)
class Episode:
    """One that is drawn, and how it was chosen."""

    record: EpisodeRecord
    views: list[int]
    energies: list[float]
    chosen: str


def find_episode(factory: Factory, task: str, lab: str, seed: int | None) -> Episode:
    """Return the episode of that seed, or of the first that succeeds; if none does, the first."""
    with closing(environments(EnvConfig(id=full_id(task), lab=lab), 1)) as envs:
        agent = Watched(factory.agent(PlanningConfig(), envs))

        def run(seed: int, why: str) -> Episode:
            (record,) = rollout(envs, agent, [seed])
            return Episode(record, agent.views, agent.energies, f"seed {seed}, {why}")

        if seed is not None:
            return run(seed, "which was asked for")
        first = run(0, "the first that succeeds")
        if first.record.success:
            return first
        for tried in range(1, MOST_TRIED):
            episode = run(tried, f"the first that succeeds, after {tried} that fail")
            if episode.record.success:
                return episode
    return replace(first, chosen=f"seed 0, which fails, as all {MOST_TRIED} that were tried do")


def draw(episode: Episode, title: str) -> Iterator[Image.Image]:
    """Yield the frames of an animation."""
    record = episode.record
    assert record.frames is not None
    last = len(record.frames) - 1
    for step, seen in enumerate(record.frames):
        page = Image.new("RGB", (2 * SIZE + GAP, 2 * LINE + SIZE + GAP + SMALL), "white")
        pen = ImageDraw.Draw(page)
        page.paste(scaled(seen, SIZE), (0, LINE))
        told = f"step {step} of {last}"
        if step == last:
            told += ": success" if record.success else ": failure"
            frame(pen, (0, LINE), SIZE, GREEN if record.success else RED)
        write(pen, (0, 0), f"{title}, seed {record.seed}", BLACK)
        write(pen, (0, LINE + SIZE + GAP + SMALL), told, BLACK)
        draw_energy(pen, (0, LINE + SIZE + GAP), episode, step)
        draw_goal(page, pen, record.goal_images, episode.views[min(step, last - 1)])
        yield page


def draw_goal(page: Image.Image, pen: ImageDraw.ImageDraw, goal: np.ndarray, view: int) -> None:
    """Draw what is to be seen now, and below it all views of a goal that has several."""
    left, top = SIZE + GAP, LINE + SIZE + GAP
    page.paste(scaled(goal[view], SIZE), (left, LINE))
    if len(goal) == 1:
        return write(pen, (left, 0), "goal image", BLUE)
    write(pen, (left, 0), f"goal image {view + 1} of {len(goal)}", BLUE)
    for number, image in enumerate(goal):
        corner = (left + number * (SMALL + GAP), top)
        page.paste(scaled(image, SMALL), corner)
        if number == view:
            frame(pen, corner, SMALL, BLUE)
    return None


def draw_energy(
    pen: ImageDraw.ImageDraw, corner: tuple[int, int], episode: Episode, step: int
) -> None:
    """Draw the energy so far, a new line for each view of the goal."""
    left, top = corner[0] + GAP, corner[1]
    energies, width = episode.energies, SIZE - 2 * GAP
    known = energies[: step + 1]
    write(pen, corner, f"energy {known[-1]:.2f}", GREY)
    low, high = top + SMALL - GAP, top + LINE
    pen.line([(left, low), (left + width, low)], fill=LIGHT)
    most = max(max(energies), 1e-9)
    places = [
        (left + width * i / max(len(energies) - 1, 1), low - (low - high) * energy / most)
        for i, energy in enumerate(known)
    ]
    for i in range(1, len(places)):
        if episode.views[i] == episode.views[i - 1]:
            pen.line([places[i - 1], places[i]], fill=BLUE, width=2)
    x, y = places[-1]
    pen.ellipse([x - 3, y - 3, x + 3, y + 3], fill=BLUE)


def scaled(image: np.ndarray, size: int) -> Image.Image:
    """Return a picture of that many pixels a side."""
    return Image.fromarray(image).resize((size, size), Image.Resampling.LANCZOS)


def frame(
    pen: ImageDraw.ImageDraw, corner: tuple[int, int], size: int, colour: tuple[int, int, int]
) -> None:
    """Draw a frame within a picture."""
    left, top = corner
    pen.rectangle([left, top, left + size - 1, top + size - 1], outline=colour, width=3)


def write(
    pen: ImageDraw.ImageDraw, corner: tuple[int, int], text: str, colour: tuple[int, int, int]
) -> None:
    """Write a line of text."""
    pen.text((corner[0] + 2, corner[1] + 2), text, fill=colour, font=ImageFont.load_default(13))


def save(path: Path, pages: list[Image.Image]) -> int:
    """Write an animation that begins anew after a while; return its size in bytes."""
    first, *others = pages
    first.save(
        path,
        save_all=True,
        append_images=others,
        duration=[MILLISECONDS] * len(others) + [LAST_MILLISECONDS],
        loop=0,
        quality=80,
        method=6,
    )
    count = path.stat().st_size
    if count > MOST_BYTES:
        raise SystemExit(f"{path} has {count / 1e6:.2f} MB, more than {MOST_BYTES / 1e6:.1f}")
    return count


def main() -> None:
    """Draw what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", default="docs/media", type=Path)
    parser.add_argument("--model", default="tiny", help="a shipped model, or a folder")
    parser.add_argument("--only", nargs="+", choices=SCENES, default=list(SCENES))
    parser.add_argument("--seeds", nargs="+", default=[], metavar="NAME=SEED")
    told = parser.parse_args()
    seeds = {name: int(seed) for name, seed in (word.split("=") for word in told.seeds)}
    if unknown := set(seeds) - set(SCENES):
        parser.error(f"--seeds: no such names: {sorted(unknown)}; there are {', '.join(SCENES)}")
    told.folder.mkdir(parents=True, exist_ok=True)
    factory, lines = Factory(WorldModelConfig(source=told.model)), []
    for name in told.only:
        task, lab = SCENES[name]
        episode = find_episode(factory, task, lab, seeds.get(name))
        path = told.folder / f"demo_{name}.webp"
        title = f"{task.replace('_', ' ')}, lab {lab}"
        count = save(path, list(draw(episode, title)))
        lines.append(f"{path.name}: {told.model}, {episode.chosen}; {count / 1e3:.0f} kB")
        print(lines[-1])
    with (told.folder / "demos.txt").open("a", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)


if __name__ == "__main__":
    main()
