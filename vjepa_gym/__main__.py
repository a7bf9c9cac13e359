"""`python -m vjepa_gym` is `vjepa-gym`."""

import sys

from vjepa_gym.experiments.cli import main

if __name__ == "__main__":
    sys.exit(main())
