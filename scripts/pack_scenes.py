"""Compile the scenes that trainings and evaluations need, for a machine without robosuite.

`python scripts/pack_scenes.py scenes.tar.xz`: both labs, both object sets, any number of
distractors. Unpacked in `$VJEPA_GYM_CACHE`, they are found by the same version of this package.
"""

import itertools
import lzma
import sys
import tarfile
from pathlib import Path

from vjepa_gym.sim import labs, objects
from vjepa_gym.sim.scene import SceneConfig, load_scene, scene_file

DICTIONARY = 2**27
"""Bytes that the compression looks back: all scenes, which are alike [B]."""


def scenes() -> list[SceneConfig]:
    """Return what is packed."""
    sets = itertools.product(labs.LABS.values(), objects.OBJECT_SETS.items())
    return [
        SceneConfig(lab=lab, objects=name, distractors=number)
        for lab, (name, things) in sets
        for number in range(len(things.distractors) + 1)
    ]


def main(archive: Path) -> None:
    """Write the archive."""
    strength = [{"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": DICTIONARY}]
    with (
        lzma.open(archive, "wb", filters=strength) as packed,
        tarfile.open(fileobj=packed, mode="w") as files,
    ):
        for config in scenes():
            load_scene(config)
            file = scene_file(config)
            files.add(file, f"scenes/{file.name}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
