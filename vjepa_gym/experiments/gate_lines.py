"""Which gates a model does not pass, in lines that a terminal and a page both show."""

from vjepa_gym.world_models.gate_rows import FAILED, NOT_MEASURED
from vjepa_gym.world_models.gates import Gates


def gate_lines(model: str, gates: Gates | None) -> list[str]:
    """Return which gates the model does not pass, each with its figure and what is wanted.

    Args:
        model: Its name or folder.
        gates: What was measured of it; None if nothing was.
    """
    if gates is None:
        return [f"Nobody measured the gates of {model}: vjepa-gym gates job.model={model} does."]
    rows = gates.rows()
    failed = [row for row in rows if row.verdict == FAILED]
    unknown = sum(row.verdict == NOT_MEASURED for row in rows)
    beside = f" ({unknown} were not measured)" if unknown else ""
    measured = len(rows) - unknown
    if not failed:
        return [f"All gates passed: {model} passes {measured} of {measured}{beside}."]
    width = max(len(row.gate) for row in failed)
    return [
        f"{model} does not pass {len(failed)} of {measured} gates{beside}:",
        *(f"  {row.gate:<{width}}  {row.measured}, {row.wanted} is wanted" for row in failed),
    ]
