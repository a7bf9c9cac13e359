#!/usr/bin/env bash
# Have the unmodified lerobot read an export of ours, and ours read what lerobot wrote.
#   scripts/check_lerobot.sh [environment [dataset]]
# The environment is made if it is not there, in a temporary folder by default: several GB and a few
# minutes, for lerobot wants a torch of its own. Python 3.12 gets 0.6.1, Python 3.11 the last
# version that it can have; LEROBOT_PYTHON names another interpreter. The dataset, in DROID's
# layout, is recorded if none is given. VENV is the environment of this package.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${VENV:-.venv}
apart=$(mktemp -d)
trap 'rm -rf "$apart"' EXIT
environment=${1:-$apart/environment}
dataset=${2:-$apart/dataset}
export HF_HUB_OFFLINE=1 HF_HOME=$apart/huggingface SVT_LOG=1 OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

make_environment() {
    local name version
    for name in ${LEROBOT_PYTHON:-} python3.12 python3.11; do
        version=$("$name" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
        case $version in
            3.12) version='lerobot[dataset]==0.6.1' ;;
            3.11) version='lerobot==0.4.4' ;;
            *) continue ;;
        esac
        echo "check: $version with $name in $environment"
        "$name" -m venv "$environment"
        "$environment/bin/python" -m pip install --quiet --disable-pip-version-check "$version"
        return
    done
    echo "check: Python 3.12 or 3.11 is needed; LEROBOT_PYTHON=/path/to/python names one." >&2
    exit 1
}

[ -x "$environment/bin/python" ] || make_environment
if [ ! -d "$dataset" ]; then
    for name in settled clock; do
        rate=null && [ "$name" = settled ] || rate=15
        "$venv/bin/vjepa-gym" collect "job.root=$dataset/$name" job.episodes=3 job.steps=6 \
            "job.record_hz=$rate" 'job.cameras=[left,right,wrist]' 'job.image_size=[180,320]'
    done
    datasets=("$dataset/settled" "$dataset/clock")
else
    datasets=("$dataset")
fi

for one in "${datasets[@]}"; do
    out=$apart/$(basename "$one")
    "$venv/bin/vjepa-gym" convert "$one" "$out.lerobot" job.to=lerobot
    "$venv/bin/python" scripts/check_lerobot.py tell "$one" "$out.told"
    "$environment/bin/python" scripts/check_lerobot.py compare "$out.lerobot" "$out.told"
done
"$environment/bin/python" scripts/check_lerobot.py write "$apart/theirs"
"$venv/bin/vjepa-gym" convert "$apart/theirs" "$apart/ours" job.to=droid
"$venv/bin/python" scripts/check_lerobot.py read "$apart/ours"
echo "check: done"
