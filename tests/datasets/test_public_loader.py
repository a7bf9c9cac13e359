"""What public loaders of DROID get of ours; the real one runs where `VARIABLE` says where it is."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from droid_reader import list_folders, read_clip
from loader_cases import CAMERAS, CASES, check_clip, write_case

from vjepa_gym.datasets.droid.defects import ClipNeeds, find_defects
from vjepa_gym.datasets.droid.layout import find_folders

VARIABLE = "VJEPA2_DROID_LOADER"
TIME_LIMIT = 120
"""The public loader tries for ever to read what it cannot [s]."""


@pytest.fixture(scope="module")
def lists(tmp_path_factory):
    root = tmp_path_factory.mktemp("cases")
    return {case.name: write_case(case, root) for case in CASES}


@pytest.mark.parametrize("view", CAMERAS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_reader_of_droid_reads_clips_of_ours(lists, case, view):
    (folder,) = list_folders(lists[case.name])
    rng = np.random.default_rng(0)
    starts = set()
    for _ in range(5):
        options = {"frames": case.frames, "fps": case.fps, "view": f"{view}_mp4_path"}
        clip = read_clip(folder, rng, **options)
        check_clip(case, view, clip)
        starts.add(clip["rows"][0])
    assert len(starts) > 1


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_fits_a_loader_is_what_it_can_read(lists, case):
    (folder,) = find_folders(lists[case.name].parent)
    for frames in (case.frames, case.frames + 5 // case.stride + 1):
        defects = find_defects(folder, loader=ClipNeeds(frames=frames, fps=float(case.fps)))
        short = "too_short" in {defect.kind for defect in defects}
        rng = np.random.default_rng(0)
        if not short:
            read_clip(str(folder), rng, frames=frames, fps=case.fps)
            continue
        with pytest.raises(AssertionError, match="for ever"):
            read_clip(str(folder), rng, frames=frames, fps=case.fps)
    assert short


@pytest.mark.external
def test_the_public_loader_reads_clips_of_ours(lists, tmp_path):
    if VARIABLE not in os.environ:
        pytest.skip(f"{VARIABLE} does not say where app/vjepa_droid/droid.py of vjepa2 is")
    cases = [[case.name, str(lists[case.name]), case.frames, case.fps] for case in CASES]
    program = Path(__file__).with_name("read_with_vjepa2.py")
    command = [sys.executable, str(program), os.environ[VARIABLE], str(tmp_path), json.dumps(cases)]
    subprocess.run(command, check=True, timeout=TIME_LIMIT)
    assert (tmp_path / "done").exists()
    for case in CASES:
        (folder,) = list_folders(lists[case.name])
        for view in CAMERAS:
            starts = {_check(case, view, folder, path) for path in _clips(tmp_path, case, view)}
            assert len(starts) > 1


def _clips(folder: Path, case, view: str) -> list[Path]:
    return sorted(folder.glob(f"{case.name}-{view}-*.npz"))


def _check(case, view: str, folder: str, path: Path) -> int:
    with np.load(path) as file:
        clip = dict(file)
    in_camera = "-True-" in path.name
    if not in_camera:
        check_clip(case, view, clip)

    class Same:
        """Draws the end that the public loader drew."""

        def integers(self, low, high):
            end = clip["rows"][0] + case.frames * case.stride
            assert low <= end < high
            return end

    ours = read_clip(
        folder,
        Same(),
        frames=case.frames,
        fps=case.fps,
        view=f"{view}_mp4_path",
        camera_frame=in_camera,
    )
    np.testing.assert_array_equal(clip["rows"], ours["rows"])
    for name in ("actions", "states", "extrinsics"):
        np.testing.assert_allclose(clip[name], ours[name], atol=1e-9)
    # Another FFmpeg rounds colours otherwise.
    assert np.abs(clip["images"].astype(int) - ours["images"]).max() <= 4
    return int(clip["rows"][0])
