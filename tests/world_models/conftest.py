"""Makes the helpers beside this file importable, whatever directory the tests are started from."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
