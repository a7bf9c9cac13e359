#!/usr/bin/env bash
# Install the wheel of dist/ in a new environment, and try it from outside the checkout.
# The dependencies are lent by the environment $1; this package itself is not.
set -euo pipefail
cd "$(dirname "$0")/.."
lent=$("$1/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
apart=$(mktemp -d)
trap 'rm -rf "$apart"' EXIT

"$1/bin/python" -m venv "$apart/venv"
"$apart/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps dist/*.whl
# A path in a .pth file comes after the environment's own packages, and its own .pth files, the
# editable install of the checkout among them, are not read.
echo "$lent" >"$("$apart/venv/bin/python" -c \
    'import sysconfig; print(sysconfig.get_path("purelib"))')/lent.pth"
cp tests/smoke_test.py "$apart"
cd "$apart"
"$apart/venv/bin/python" smoke_test.py
