#!/usr/bin/env bash
# Put all that train_small.sh needs on a machine without a network into one archive:
#
#     scripts/pack_small.sh [build/small_pack.tar]
#
# Packages as wheels, this package as it is now (without its shipped weights), and compiled scenes,
# so that robosuite need not be there. Whatever is in ASSUMED has to be, in any version that works
# with this package. PYTHON_VERSION is the other machine's; ALSO names further packages to carry.
set -euo pipefail
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-.venv/bin/python}
PYTHON_VERSION=${PYTHON_VERSION:-3.12}
MOST_MB=${MOST_MB:-60}
CARRIED=(mujoco glfw PyOpenGL gymnasium Farama-Notifications hydra-core omegaconf av
    fast_simplification)
FROM_SOURCE=(antlr4-python3-runtime) # published as source alone: pure Python
ASSUMED="torch numpy h5py cv2 imageio PIL safetensors jaxtyping huggingface_hub tensorboard rich
    matplotlib yaml packaging cloudpickle typing_extensions tqdm"
PLATFORMS=(manylinux_2_28 manylinux_2_27 manylinux_2_24 manylinux_2_17 manylinux2014)
# What draws without a display goes by way of these to the driver's own; a few machines lack them.
OPENGL=(libegl1 libglvnd0 libgl1 libglx0 libopengl0 libgles2)

read -r -a also <<<"${ALSO:-}"
archive=$(realpath -m "${1:-build/small_pack.tar}")
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
pack=$made/small_pack
mkdir -p "$pack/wheels" "$made/source"
pip() { "$PYTHON" -m pip --disable-pip-version-check "$@"; }

echo "pack: wheels for Python $PYTHON_VERSION"
platforms=()
for name in "${PLATFORMS[@]}"; do platforms+=(--platform "${name}_x86_64"); done
pip download --quiet --no-deps --only-binary :all: --constraint constraints.txt \
    --implementation cp --python-version "$PYTHON_VERSION" "${platforms[@]}" \
    --dest "$pack/wheels" "${CARRIED[@]}" "${also[@]}"
pip wheel --quiet --no-deps --constraint constraints.txt --wheel-dir "$pack/wheels" \
    "${FROM_SOURCE[@]}"

echo "pack: this package"
cp -r vjepa_gym pyproject.toml README.md LICENSE CHANGELOG.md "$made/source"
rm -rf "$made"/source/vjepa_gym/checkpoints/*/
"$PYTHON" -m build --no-isolation --wheel --outdir "$pack/wheels" "$made/source" >"$made/log" 2>&1 \
    || { cat "$made/log" >&2 && exit 1; }

# Scenes are found by the text of the code that composes them: that of the wheel.
echo "pack: scenes (minutes, unless build/scenes has them from before)"
"$PYTHON" -m zipfile -e "$pack"/wheels/vjepa_gym-*.whl "$made/installed"
VJEPA_GYM_CACHE=$PWD/build/scenes PYTHONPATH=$made/installed \
    "$PYTHON" scripts/pack_scenes.py "$pack/scenes.tar.xz"

mkdir "$pack/opengl"
(cd "$pack/opengl" && apt-get download --quiet "${OPENGL[@]}" >/dev/null 2>&1) \
    || echo "pack: without ${OPENGL[*]}, which apt-get could not download"
cp scripts/recipe.sh scripts/train_small.sh "$pack"
printf '%s\n' $ASSUMED >"$pack/assumed.txt"

mkdir -p "$(dirname "$archive")"
tar --create --file "$archive" --directory "$made" small_pack
(cd "$pack" && find . -type f -printf '%s\t%P\n') | sort --numeric-sort --reverse \
    | awk -F '\t' '{ printf "%9.2f MB  %s\n", $1 / 1e6, $2 }'
total=$(stat --format %s "$archive")
awk -v total="$total" -v file="$archive" 'BEGIN { printf "%9.2f MB  %s\n", total / 1e6, file }'
if [ "$total" -gt $((MOST_MB * 1000000)) ]; then
    echo "pack: more than $MOST_MB MB" >&2
    exit 1
fi
