"""Physics and pictures, no tasks: the scene, the arm, the cameras."""
