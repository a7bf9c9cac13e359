#!/usr/bin/env bash
# Train `small` on one large GPU and 16 cores, without a network, within half an hour:
#
#     tar xf small_pack.tar && small_pack/train_small.sh
#
# in a folder with room for the data (about 3 GB); the same command goes on where it was stopped.
# scripts/pack_small.sh makes small_pack.tar. Each number below may be set: EPISODES=500 ...
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

PYTHON=${PYTHON:-python3}
MODEL=${MODEL:-small}
DEVICE=${DEVICE:-auto}
WORKERS=${WORKERS:-0}                  # processes that simulate; 0 is one a core
EPISODES=${EPISODES:-8000}             # collect
HELD_OUT=${HELD_OUT:-200}              # of them, for gates and heads
VARIATION=${VARIATION:-wide}
PRETRAINING=${PRETRAINING:-small}      # pretrain: the recipe, and how long
PRETRAIN_STEPS=${PRETRAIN_STEPS:-6000}
POST_TRAINING=${POST_TRAINING:-small}  # train
TRAIN_STEPS=${TRAIN_STEPS:-8000}
HEAD_STEPS=${HEAD_STEPS:-null}         # heads; null is each head's own number
TABLE_EPISODES=${TABLE_EPISODES:-20}   # compare: of each agent in each cell
TABLE_AGENTS=${TABLE_AGENTS:-[planning,hold_still,expert]}
TABLE_TASKS=${TABLE_TASKS:-[reach,grasp_cup,grasp_box,reach_with_cup,reach_with_box,\
pick_place_cup,pick_place_box]}
TABLE_ENVS=${TABLE_ENVS:-16}           # robots that are planned for together,
TABLE_PROCESSES=${TABLE_PROCESSES:-false} # and whether each is simulated by a process of its own

DATA=data/small ENCODER=runs/$MODEL/encoder MODEL_FOLDER=runs/$MODEL/model TABLE=runs/$MODEL/table
each=(job.held_out="$HELD_OUT" job.device="$DEVICE")
COLLECT=(job.episodes="$EPISODES" job.variation="$VARIATION" job.workers="$WORKERS")
PRETRAIN=("${each[@]}" job.training="$PRETRAINING" job.training.steps="$PRETRAIN_STEPS")
TRAIN=("${each[@]}" job.training="$POST_TRAINING" job.training.steps="$TRAIN_STEPS" job.half=true)
HEADS=("${each[@]}" job.steps="$HEAD_STEPS" job.half=true)
GATES=("${each[@]}")
COMPARE=(world_model.device="$DEVICE" job.episodes="$TABLE_EPISODES" job.tasks="$TABLE_TASKS"
    job.agents="$TABLE_AGENTS" job.num_envs="$TABLE_ENVS" job.processes="$TABLE_PROCESSES"
    job.variation="$VARIATION")

export PYTHONPATH=$here/site${PYTHONPATH:+:$PYTHONPATH}
export VJEPA_GYM_CACHE=$here/cache
export MUJOCO_GL=${MUJOCO_GL:-egl}
GYM=("$PYTHON" -m vjepa_gym)

fail() {
    printf '\ntrain_small: %s\n' "$*" >&2
    exit 1
}

packed() { cat "$here"/wheels/*.whl "$here/scenes.tar.xz" 2>/dev/null | cksum; }

install() {
    # Another pack may have been unpacked over the last one.
    if [ "$(cat "$here/site/.installed" 2>/dev/null)" = "$(packed)" ]; then return 0; fi
    "$PYTHON" - "$here/assumed.txt" <<'END' || fail "name their packages in ALSO for pack_small.sh"
import importlib.util, pathlib, sys
names = pathlib.Path(sys.argv[1]).read_text().split()
missing = [name for name in names if importlib.util.find_spec(name) is None]
sys.exit(f"train_small: {sys.executable} has no {', '.join(missing)}" if missing else 0)
END
    rm -rf "$here/site" "$VJEPA_GYM_CACHE"
    # Without what they ask for: robosuite is not there, and is not needed.
    "$PYTHON" -m pip install --quiet --disable-pip-version-check --no-index --no-deps \
        --find-links "$here/wheels" --target "$here/site" "$here"/wheels/*.whl
    mkdir -p "$VJEPA_GYM_CACHE"
    "$PYTHON" -m tarfile -e "$here/scenes.tar.xz" "$VJEPA_GYM_CACHE"
    packed >"$here/site/.installed"
}

can_draw() {
    "$PYTHON" -c '
import mujoco
from vjepa_gym.sim.rendering import Renderer
Renderer(mujoco.MjModel.from_xml_string("<mujoco/>"), 16).close()'
}

# Let MuJoCo find OpenGL: the driver's own libraries, by way of those that were carried.
find_opengl() {
    local driver=/usr/local/nvidia/share/glvnd/egl_vendor.d/10_nvidia.json file
    if [ -e "$driver" ] && [ ! -e /usr/share/glvnd/egl_vendor.d/10_nvidia.json ]; then
        export __EGL_VENDOR_LIBRARY_FILENAMES=${__EGL_VENDOR_LIBRARY_FILENAMES:-$driver}
    fi
    if can_draw >/dev/null 2>&1; then return 0; fi
    for file in "$here"/opengl/*.deb; do
        if [ -e "$file" ]; then dpkg -x "$file" "$here/opengl/unpacked"; fi
    done
    export LD_LIBRARY_PATH=$here/opengl/unpacked/usr/lib/x86_64-linux-gnu:${LD_LIBRARY_PATH:-}
    can_draw || fail "MuJoCo cannot draw here with MUJOCO_GL=$MUJOCO_GL, for the reason above"
}

install
find_opengl
# shellcheck source=scripts/recipe.sh
. "$here/recipe.sh"
recipe
