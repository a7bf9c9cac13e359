import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_encoder_and_predictors_compile_without_a_break() -> None:
    script = Path(__file__).with_name("compiling.py")
    done = subprocess.run(
        [sys.executable, "-W", "error", script],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
