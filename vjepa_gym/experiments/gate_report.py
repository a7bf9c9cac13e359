"""What measuring the gates leaves behind: a table, and the figures with the run and the model."""

from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from vjepa_gym.experiments.jobs.gates import GatesConfig, GatesNotPassedError, store_gates
from vjepa_gym.learning.checkpoints import write_json
from vjepa_gym.world_models.gate_rows import FAILED, NOT_MEASURED, PASSED
from vjepa_gym.world_models.gate_table import Gates
from vjepa_gym.world_models.vjepa2_ac import GATES_FILE

COLUMNS = {"gate": False, "measured": False, "chance": False, "wanted": True, "verdict": True}
"""Of the table, and which of them are never broken into lines."""
STYLES = {PASSED: "green", FAILED: "bold red", NOT_MEASURED: "dim"}


def report_gates(console: Console, job: GatesConfig, gates: Gates, folder: Path) -> None:
    """Keep what was measured, show it, and judge by it.

    Args:
        console: Where to show it.
        job: What was asked for.
        gates: What was measured.
        folder: Of the run.

    Raises:
        GatesNotPassedError: The model does not pass, and that was to be an error.
    """
    write_json(folder / GATES_FILE, gates.to_json())
    show_gates(console, gates)
    kept = [folder / GATES_FILE, store_gates(gates, job.model) if job.store else None]
    console.print(f"The figures are in {' and '.join(str(path) for path in kept if path)}.")
    if job.strict and (failures := gates.failures()):
        raise GatesNotPassedError(f"{job.model} does not pass: {'; '.join(failures)}.")


def show_gates(console: Console, gates: Gates) -> None:
    """Show what was measured, what is wanted, and what does not pass.

    Args:
        console: Where.
        gates: What was measured.
    """
    table = Table(box=SIMPLE, pad_edge=False)
    for name, narrow in COLUMNS.items():
        table.add_column(name, no_wrap=narrow)
    rows = gates.rows()
    for row in rows:
        measured = row.measured.removeprefix(f"{NOT_MEASURED}: ")
        style = STYLES[row.verdict]
        wanted = f"{'>=' if row.at_least else '<='} {row.limit:.3g}"
        table.add_row(row.gate, measured, row.chance, wanted, row.verdict, style=style)
    console.print(table)
    for failure in gates.failures():
        console.print(f"not passed: {failure}")
    counts = {verdict: sum(row.verdict == verdict for row in rows) for verdict in STYLES}
    console.print(", ".join(f"{count} {verdict}" for verdict, count in counts.items()) + ".")
