"""A cluster of two machines on this one, which loses one of them."""

import os
from pathlib import Path

HELPERS = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "datasets")]

RUN = """
import json, sys
sys.path[:0] = {helpers!r}
from ray.cluster_utils import Cluster
import collect_recorders
from vjepa_gym.errors import VJEPAGymError
from vjepa_gym.experiments.jobs import collect
from vjepa_gym.experiments.jobs.collect import CollectConfig, run_collect


def settings(name, **changes):
    return CollectConfig(**{settings!r} | dict(root=name, runner="ray") | changes)


def failure(recorder, **changes):
    try:
        run_collect(settings("failed", **changes), open_recorder=recorder)
    except (RuntimeError, VJEPAGymError) as error:
        return [type(error).__name__, str(error)]


if __name__ == "__main__":
    small = dict(num_cpus=1, object_store_memory=100 * 2**20)
    cluster = Cluster(initialize_head=True, head_node_args=small | dict(include_dashboard=False))
    node = cluster.add_node(**small)

    def on_episode(done, *_):
        if done == {loss}:
            cluster.remove_node(node, allow_graceful=False)

    recorder = getattr(collect_recorders, "{recorder}", None) or collect.{recorder}
    done = run_collect(settings("set", ray_address=cluster.address), on_episode,
                       open_recorder=recorder)
    said = dict(recorded=done.recorded, lost=done.lost_workers)
    said["error"] = failure(collect_recorders.fail, ray_address=cluster.address)
    if {deaths}:
        always = dict(env_options=dict(always=True), ray_address=cluster.address)
        said["death"] = failure(collect_recorders.die_once, **always)
    cluster.shutdown()
    print(json.dumps(said))
"""


def script(recorder: str, settings: dict, loss: int, deaths: bool) -> str:
    """Return what collects into `set` of the working folder while a machine is lost.

    Args:
        recorder: Name of what records.
        settings: Of the collection.
        loss: After how many episodes the machine is lost.
        deaths: Whether to try as well a recorder that kills whoever records.
    """
    return RUN.format(
        helpers=HELPERS, settings=settings, recorder=recorder, loss=loss, deaths=deaths
    )


def environment(folder: Path) -> dict[str, str]:
    """Return the variables under which the machines find the recorders."""
    paths = [*HELPERS, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "RAY_TMPDIR": str(folder)}
