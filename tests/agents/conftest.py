"""Makes `toys`, and the helpers beside this file, importable from wherever tests are started."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
