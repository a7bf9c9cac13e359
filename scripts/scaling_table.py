"""Pretrain small encoders that differ in one thing each, and read hand and objects from them.

    python scripts/scaling_table.py [--recipe tiny] [--steps 600] [--batch 32]

Sizes, resolutions, lengths of clips and numbers of episodes are varied around one encoder in the
middle. A run that was stopped goes on; one that is finished is not repeated. At the end stand
`table.md` and `scaling.png` in the folder.
"""

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from vjepa_gym.datasets.storage.store import EpisodeStore

HELD_OUT, FITTED = 100, 300
PROBE = "ridge"
COLOURS = {"end effector": "tab:blue", "objects": "tab:orange"}


@dataclass(frozen=True, kw_only=True)
class Variation:
    """One encoder of the table: what is varied, to what, and the words that say so."""

    axis: str
    value: float
    words: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What its folder is called."""
        return f"{self.axis}-{self.value:g}" if self.words else "middle"


def variations(episodes: int) -> list[Variation]:
    """Return the rows of the table; those without words are the encoder in the middle."""

    def size(width: int, depth: int, heads: int) -> tuple[str, ...]:
        keys = {"width": width, "depth": depth, "heads": heads}
        return tuple(f"job.model.encoder.{key}={value}" for key, value in keys.items())

    def pixels(side: int) -> tuple[str, ...]:
        return (f"job.model.encoder.image_size={side}",)

    def frames(count: int) -> tuple[str, ...]:
        return (f"job.training.frames={count}",)

    def first(count: int) -> tuple[str, ...]:
        return (f"job.held_out={episodes - count}",)

    return [
        Variation(axis="width", value=96, words=size(96, 4, 3)),
        Variation(axis="width", value=192),
        Variation(axis="width", value=384, words=size(384, 4, 6)),
        Variation(axis="pixels", value=48, words=pixels(48)),
        Variation(axis="pixels", value=64),
        Variation(axis="pixels", value=96, words=pixels(96)),
        Variation(axis="frames", value=2, words=frames(2)),
        Variation(axis="frames", value=4),
        Variation(axis="episodes", value=50, words=first(50)),
        Variation(axis="episodes", value=300, words=first(300)),
        Variation(axis="episodes", value=episodes - HELD_OUT),
    ]


def run(words: list[str]) -> None:
    """Run a job in a process of its own, and end with it if it fails."""
    print("$ vjepa-gym", *words, flush=True)
    done = subprocess.run([sys.executable, "-m", "vjepa_gym", *words], check=False)
    if done.returncode:
        sys.exit(done.returncode)


def judge(each: Variation, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Return the readings of each target; train and probe first if that is not done."""
    folder = options.folder / each.name
    found = folder / "probe" / "probes.json"
    if not found.exists():
        data, held_out = f"job.data={options.data}", f"job.held_out={HELD_OUT}"
        training = [
            f"job.training={options.recipe}",
            f"job.model={options.recipe}",
            f"job.training.steps={options.steps}",
            f"job.training.batch_size={options.batch}",
        ]
        words = each.words if each.axis == "episodes" and each.words else (held_out, *each.words)
        run(["pretrain", data, f"job.folder={folder}", *training, *words])
        reading = [f"job.fitted={FITTED}", f"job.probes=[{PROBE}]", held_out]
        where = f"hydra.run.dir={found.parent}"
        run(["probe", f"job.models=[{folder}]", data, *reading, where])
    return {one["target"]: one for one in json.loads(found.read_text())}


def table(rows: list[tuple[Variation, dict[str, dict[str, float]]]]) -> str:
    """Return the table in Markdown."""
    lines = ["| varied | to | " + " | ".join(COLOURS) + " |", "|---|---|" + "---|" * len(COLOURS)]
    for each, readings in rows:
        cells = [
            f"{readings[target]['error_mm']:.1f} mm ({readings[target]['ratio']:.2f})"
            for target in COLOURS
        ]
        lines.append(f"| {each.axis} | {each.value:g} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def draw(rows: list[tuple[Variation, dict[str, dict[str, float]]]], path: Path) -> None:
    """Draw the errors, with training and without, over what was varied."""
    axes_names = list(dict.fromkeys(each.axis for each, _ in rows))
    figure = Figure(figsize=(3 * len(axes_names), 3), layout="constrained")
    for axes, axis in zip(figure.subplots(1, len(axes_names)), axes_names, strict=True):
        mine = [(each.value, readings) for each, readings in rows if each.axis == axis]
        for target, colour in COLOURS.items():
            for key, style, label in (("error_mm", "o-", target), ("untrained_mm", "x:", None)):
                errors = [readings[target][key] for _, readings in mine]
                axes.plot([value for value, _ in mine], errors, style, color=colour, label=label)
        axes.set(xlabel=axis, xscale="log", ylim=(0, None))
        axes.set_xticks([value for value, _ in mine], [f"{value:g}" for value, _ in mine])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("probe error [mm], dotted: untrained")
    figure.axes[0].legend()
    figure.savefig(path, dpi=110)


def main() -> None:
    """Train, judge, and write the table and the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("data/tabletop"))
    parser.add_argument("--folder", type=Path, default=Path("runs/scaling"))
    parser.add_argument("--recipe", default="tiny", help="preset of the model and of its training")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch", type=int, default=32)
    options = parser.parse_args()
    episodes = len(EpisodeStore(options.data))
    rows = [(each, judge(each, options)) for each in variations(episodes)]
    (options.folder / "table.md").write_text(table(rows))
    draw(rows, options.folder / "scaling.png")
    print(table(rows))


if __name__ == "__main__":
    main()
