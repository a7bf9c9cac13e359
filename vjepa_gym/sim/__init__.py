"""Physics and pictures, no tasks: the scene, the arm, the cameras."""

import os
import sys

# MuJoCo reads this once, when it is first imported. Without a display only EGL draws; whoever set
# the variable knows better.
if sys.platform == "linux" and not os.environ.get("DISPLAY"):
    os.environ.setdefault("MUJOCO_GL", "egl")
