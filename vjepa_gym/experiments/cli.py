"""The one door: `vjepa-gym <job> [group=option] [key=value]`.

Nothing heavy is imported before it is known that something is to be run, so that help is instant.
"""

import os
import select
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version

from vjepa_gym.errors import UnknownNameError, VJEPAGymError
from vjepa_gym.experiments.together import TOGETHER, is_first, is_to_say, processes

JOBS = {
    "demo": "the shipped model does what goal images show: a table, videos, a page, failed gates",
    "collect": "fill a dataset with simulated episodes in DROID's layout; resumes",
    "audit": "name every defect of a dataset in DROID's layout, anybody's, and describe its data",
    "convert": "take a dataset from DROID's layout to LeRobot, robomimic or a cache, and back",
    "pretrain": "train the V-JEPA 2 encoder on the videos of a dataset; resumes",
    "train": "train the action-conditioned predictor on top of it; resumes",
    "heads": "train small networks on a model's frozen latents: inverse dynamics, macro-actions,"
    " decoder; resumes",
    "probe": "read hand and objects from the latents of encoders, trained and not",
    "features": "show what an encoder makes of a video: its features as colours, beside it",
    "gates": "the offline checks that a model should pass before anyone plans with it",
    "goal": "make a goal by hand: drive the simulated arm, or take a frame or a photograph",
    "imagine": "show what a world model imagines, as the nearest real frames or decoded, beside"
    " what happened",
    "landscape": "draw the energy around the true action, for a model, for the oracle, or for two"
    " frames in a file",
    "evaluate": "measure how often an agent succeeds, with intervals",
    "compare": "measure agents beside each other, in any tasks and labs on the same seeds, in one"
    " table; resumes",
    "benchmark": "measure simulator, data, rollout, training or planner, beside others",
}
"""What can be run, and what one gets from it."""

POSITIONAL = {
    "collect": ("root",),
    "audit": ("root",),
    "convert": ("source", "target"),
    "benchmark": ("what",),
    "features": ("video",),
    "imagine": ("data",),
}
"""The keys of a job that words without a key stand for, in this order."""
FLAGS = {"audit": ("checksums",)}
"""The keys of a job that are switched on by `--<key>`."""
RESUMES = ("collect", "pretrain", "train", "heads", "compare")
"""The jobs that go on where they were stopped."""

HELP = """\
vjepa-gym <job> [group=option ...] [key=value ...]

Jobs
{jobs}

Examples
  vjepa-gym demo
  vjepa-gym collect data/mine job.episodes=500
  vjepa-gym audit data/mine --checksums
  vjepa-gym evaluate agent=planning agent.planner=fast world_model=tiny
  vjepa-gym evaluate agent=expert env=pick_place_cup env.lab=test
  vjepa-gym compare job.tasks=[reach,grasp_cup] job.episodes=20
  vjepa-gym evaluate -m agent=planning,random          every combination, one after another

vjepa-gym <job> --help        every key of that job, its default and its meaning
vjepa-gym <job> --cfg job     the composed configuration, without running anything
VJEPA_GYM_DEBUG=1             the traceback of an error as well

Each run writes its configuration and the version of the code to runs/<job>/<date_time>."""

MISTAKE, FAILURE, INTERRUPTED, BROKEN_PIPE = 2, 1, 130, 141
GRACE = 10.0
"""How long a process that is silent about a mistake stays for the one that speaks [s]."""
HELP_WORDS = ("-h", "--help", "help")
QUESTIONS = (*HELP_WORDS, "--version")
"""What is answered without running anything."""
CONFIG_FLAGS = ("-c", "--cfg")
"""The flags that the next word belongs to."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the words of a command line ask for, and return the exit status.

    Args:
        arguments: The words after the command; those of this process by default.

    Returns:
        0 if it worked, 2 if the words make no sense, 1 if the job failed for a reason that it
        names, 130 if it was interrupted, 141 if nobody reads what it writes any more.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        status = _run(words)
        sys.stdout.flush()  # what fails here would fail where nobody can say it
        return status
    except BrokenPipeError:
        if not _is_unread():
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except VJEPAGymError as error:
        if os.environ.get("VJEPA_GYM_DEBUG"):
            raise
        _say(f"vjepa-gym: {error}")
        return MISTAKE if isinstance(error, UnknownNameError | ValueError) else FAILURE
    except OSError as error:  # a folder that may not be written, a disk that is full
        if os.environ.get("VJEPA_GYM_DEBUG"):
            raise
        _say(f"vjepa-gym: {error}")
        return FAILURE
    except KeyboardInterrupt:
        kept = "; what is done is kept, and the same words go on" if _resumes(words) else ""
        _say(f"vjepa-gym: interrupted{kept}.")
        return INTERRUPTED


def _is_unread() -> bool:
    """Return whether whoever read the output, such as `head`, has seen enough and gone."""
    asked = select.poll()
    asked.register(sys.stdout.fileno(), select.POLLOUT)
    return any(event & select.POLLERR for _, event in asked.poll(0))


def _say(text: str) -> None:
    """Say what went wrong; of several processes with the same trouble, one does."""
    if is_to_say(text):
        print(text, file=sys.stderr, flush=True)
    else:
        # torchrun ends all processes when one has ended: the one that speaks must not be too late.
        time.sleep(GRACE)


def _resumes(words: list[str]) -> bool:
    return any(word.removeprefix("job=") in RESUMES for word in words[:1])


def _run(words: list[str]) -> int:
    if processes() > 1:
        _check_together(words)
        if not is_first() and any(word in (*QUESTIONS, *CONFIG_FLAGS) for word in words):
            return 0
    if not words or words[0] in HELP_WORDS:
        print(HELP.format(jobs="\n".join(f"  {name:<10} {line}" for name, line in JOBS.items())))
        return 0
    if words[0] == "--version":
        print(version("vjepa-gym"))
        return 0
    job, overrides = _job_and_overrides(words)
    if any(word in HELP_WORDS for word in overrides) and job:
        from vjepa_gym.experiments.options import describe_job

        print(describe_job(job, JOBS[job]))
        return 0
    from vjepa_gym.experiments.launch import launch

    return launch([f"job={job}", *overrides] if job else overrides)


def _check_together(words: list[str]) -> None:
    """Raise if several processes cannot run this together."""
    from vjepa_gym.experiments.mistakes import UsageError

    job = words[0].removeprefix("job=") if words else ""
    if job not in (*TOGETHER, *QUESTIONS):
        raise UsageError(
            f"{processes()} processes run only {' and '.join(TOGETHER)}, got {job!r}; start the"
            " others without torchrun."
        )
    if any(word in ("-m", "--multirun") for word in words):
        raise UsageError("-m and torchrun do not go together; start one torchrun for each.")


def _job_and_overrides(words: list[str]) -> tuple[str | None, list[str]]:
    """Split off the job, which is the first word unless that is a flag or an override."""
    first = words[0]
    if first.startswith("-") or "=" in first:
        return None, words
    if first not in JOBS:
        raise UnknownNameError("job", first, JOBS)
    return first, _spelled_out(first, words[1:])


def _spelled_out(job: str, words: list[str]) -> list[str]:
    """Return `job.what=simulator` for the `simulator` of `vjepa-gym benchmark simulator`."""
    keys, spelled, before = iter(POSITIONAL.get(job, ())), [], ""
    named = {word.partition("=")[0].lstrip("+~"): word for word in words if "=" in word}
    for word in words:
        key, value = None, word
        if word.startswith("--") and word[2:] in FLAGS.get(job, ()):
            key, value = word[2:], "true"
        elif not (word.startswith("-") or "=" in word or word in HELP_WORDS):
            key = None if before in CONFIG_FLAGS else next(keys, None)
        if key is not None:
            _check_once(f"job.{key}", word, named)
        spelled.append(word if key is None else f"job.{key}={value}")
        before = word
    return spelled


def _check_once(key: str, word: str, named: Mapping[str, str]) -> None:
    if key in named:
        from vjepa_gym.experiments.mistakes import UsageError

        raise UsageError(f"{key} is given twice: as {word!r} and as {named[key]!r}.")
