#!/usr/bin/env bash
# Make the virtual environment $1 with the pinned packages, and see to it that MuJoCo can draw.
# Called by make; does nothing that has been done, and needs no compiler.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$1

fail() {
    printf '\nset-up: %s\n' "$*" >&2
    exit 1
}

# Install Debian packages if that is allowed, else name the command that does.
install() {
    local apt=(apt-get) command="apt-get update && apt-get install -y --no-install-recommends $*"
    if ! command -v apt-get >/dev/null; then
        fail "install what your system calls: $*; then run make again."
    elif [ "$(id -u)" -ne 0 ]; then
        sudo -n true 2>/dev/null || fail "please run: sudo sh -c '$command'; then make again."
        apt=(sudo -n apt-get)
    fi
    "${apt[@]}" update -qq || true # an old list is better than none
    DEBIAN_FRONTEND=noninteractive "${apt[@]}" install -y -qq --no-install-recommends "$@" \
        || fail "this failed: $command"
}

find_python() {
    local name
    for name in ${PYTHON:-} python3.11 python3.12 python3; do
        if "$name" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' \
            2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    fail "Python 3.11 or 3.12 is needed and was not found; make PYTHON=/path/to/python names one."
}

make_venv() {
    local python
    python=$(find_python)
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        install "python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv"
    fi
    echo "set-up: $("$python" --version) in $venv"
    "$python" -m venv "$venv"
}

# An environment that an interrupted set-up left without pip is made anew.
"$venv/bin/python" -m pip --version >/dev/null 2>&1 || { rm -rf "$venv" && make_venv; }

echo "set-up: packages of constraints.txt (about 3.2 GB on disk; a few minutes the first time)"
# antlr4, which Hydra needs, is published as source alone: pure Python. All else must be a wheel.
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --only-binary :all: --no-binary antlr4-python3-runtime \
    --constraint constraints.txt --editable '.[dev]'

can_draw() {
    "$venv/bin/python" -c '
import mujoco
from vjepa_gym.sim.rendering import Renderer
Renderer(mujoco.MjModel.from_xml_string("<mujoco/>"), 16).close()'
}

if ! can_draw >/dev/null 2>&1; then
    echo "set-up: OpenGL for drawing without a display (EGL)"
    install libegl1 libgl1 libgles2 libopengl0 libgl1-mesa-dri
    can_draw || fail "MuJoCo cannot draw on this machine, for the reason above."
fi
echo "set-up: done"
