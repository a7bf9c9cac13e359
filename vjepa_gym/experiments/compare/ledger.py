"""The folder of a comparison: one line an episode, and what all of them depend on.

    config.json                           settings, agents, tasks and labs so far
    episodes/<lab>/<task>/<agent>.jsonl   one line an episode, written as soon as it is over

Lines are only ever added, but for a last one that a kill has cut short. Several processes may fill
different files of the same folder.
"""

import fcntl
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from vjepa_gym.errors import EvaluationError
from vjepa_gym.experiments.compare.cells import Cell, file_name
from vjepa_gym.experiments.compare.outcome import Outcome
from vjepa_gym.learning.checkpoints import write_json

CONFIG, EPISODES = "config.json", "episodes"
MOST_TOLD = 3
"""How many differences of settings a message names."""
SETTINGS, AGENTS, TASKS, LABS, CODE = "settings", "agents", "tasks", "labs", "code"
"""What `config.json` holds: what all results depend on, and what those of each agent do; which
columns and labs there are, in the order of the table; by which versions of the code."""


class Ledger:
    """What has been measured.

    Attributes:
        folder: Where; made with the first result.
    """

    def __init__(self, folder: Path) -> None:
        """Open a folder, which need not be there yet."""
        self.folder = folder

    def config(self) -> dict[str, Any]:
        """Return what all results depend on, and what there is; empty for a new folder.

        Raises:
            EvaluationError: The file is damaged.
        """
        path = self.folder / CONFIG
        if not path.exists():
            return {}
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise EvaluationError(
                f"{path} is not JSON: {error}; take another folder (job.folder=...)."
            ) from error
        if not isinstance(found, dict) or not {SETTINGS, AGENTS, TASKS, LABS} <= found.keys():
            raise EvaluationError(
                f"{path} is not of a comparison; take another folder (job.folder=...)."
            )
        return found

    def join(
        self,
        settings: Mapping[str, Any],
        agents: Mapping[str, Mapping[str, Any]],
        *,
        tasks: Sequence[str],
        labs: Sequence[str],
        code: Mapping[str, Any],
    ) -> None:
        """Note down what is about to be measured, beside what is there already.

        Args:
            settings: What all results depend on.
            agents: The facts of each agent, in the order of the table; `settings` among them are
                what its results depend on.
            tasks: In the order of the table.
            labs: Likewise.
            code: Its version; results of different versions may stand together.

        Raises:
            EvaluationError: What is there depends on other settings; names them.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # By way of JSON, so that a tuple equals the list that is read back.
            now = json.loads(json.dumps([settings, agents, code]))
            there = self.config()
            if there:
                self._check_same(there, now[0], now[1])
            codes = [*there.get(CODE, []), *([] if now[2] in there.get(CODE, []) else [now[2]])]
            together = {
                SETTINGS: now[0],
                AGENTS: there.get(AGENTS, {}) | now[1],
                TASKS: list(dict.fromkeys([*there.get(TASKS, []), *tasks])),
                LABS: list(dict.fromkeys([*there.get(LABS, []), *labs])),
                CODE: codes,
            }
            if together != there:
                write_json(self.folder / CONFIG, together)

    def outcomes(self, cell: Cell, agent: str) -> list[Outcome]:
        """Return the episodes of an agent in a cell that are over, by seed.

        A last line that was cut short does not count.

        Raises:
            EvaluationError: Some other line is damaged; names it.
        """
        path = self._path(cell, agent)
        if not path.exists():
            return []
        with path.open("rb") as file:
            return _read(file, path)[0]

    @contextmanager
    def adding(
        self, cell: Cell, agent: str, on_added: Callable[[Outcome], None] | None = None
    ) -> Iterator[Callable[[Outcome], None]]:
        """Yield what adds an episode of an agent in a cell; each is on its way to the disk at once.

        Args:
            cell: Where.
            agent: By whom.
            on_added: Called with each episode that is written; not with those already there.

        Raises:
            EvaluationError: Another process adds to the same file, or it is damaged.
        """
        path = self._path(cell, agent)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as file:
            _seize(file, path)
            file.seek(0)
            known, whole = _read(file, path)
            file.truncate(whole)
            seeds = {outcome.seed for outcome in known}

            def add(outcome: Outcome) -> None:
                if outcome.seed in seeds:
                    return
                seeds.add(outcome.seed)
                file.write(outcome.to_line().encode())
                file.flush()
                if on_added:
                    on_added(outcome)

            yield add

    def _path(self, cell: Cell, agent: str) -> Path:
        folder = self.folder / EPISODES / file_name(cell.lab) / file_name(cell.task)
        return folder / f"{file_name(agent)}.jsonl"

    def _check_same(
        self, there: Mapping[str, Any], settings: dict[str, Any], agents: dict[str, Any]
    ) -> None:
        found = differences(there[SETTINGS], settings)
        for name in agents.keys() & there[AGENTS].keys():
            found += differences(there[AGENTS][name], agents[name], name)
        if found:
            more = f" and {len(found) - MOST_TOLD} more" if len(found) > MOST_TOLD else ""
            raise EvaluationError(
                f"{self.folder} holds results of other settings: "
                f"{'; '.join(sorted(found)[:MOST_TOLD])}{more}. Set them as they were, or take "
                "another folder (job.folder=...)."
            )


def differences(before: Any, now: Any, path: str = "") -> list[str]:
    """Return in what two JSON values differ: `planning.agent.seed was 0 and is 1`."""
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return [] if before == now else [f"{path} was {_told(before)} and is {_told(now)}"]
    found: list[str] = []
    for key in sorted(before.keys() | now.keys()):
        below = f"{path}.{key}" if path else key
        found += differences(before.get(key), now.get(key), below)
    return found


def _told(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _read(file: IO[bytes], path: Path) -> tuple[list[Outcome], int]:
    """Return the episodes of a file, by seed, and how many bytes of it are whole lines."""
    content = file.read()
    whole = content.rfind(b"\n") + 1
    found: dict[int, Outcome] = {}
    for number, line in enumerate(content[:whole].splitlines(), 1):
        try:
            outcome = Outcome.from_line(line.decode())
        except ValueError as error:
            raise EvaluationError(
                f"{path}, line {number}, is no episode ({error}); delete that line, and the same "
                "command measures its episode again."
            ) from error
        found.setdefault(outcome.seed, outcome)
    return [found[seed] for seed in sorted(found)], whole


def _seize(file: IO[bytes], path: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise EvaluationError(
            f"Another process is adding to {path}; let it finish, or take another folder "
            "(job.folder=...)."
        ) from error
