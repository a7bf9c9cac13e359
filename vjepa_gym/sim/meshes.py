"""Fewer faces for the same look: quadric decimation of the meshes that are only drawn."""

import fast_simplification
import mujoco
import numpy as np

KEPT = 0.06
"""Share of the faces that stays; at this share the arm looks the same at 256 px."""
FEWEST = 200
"""No mesh is reduced below this many faces."""


def decimate_visuals(spec: mujoco.MjSpec) -> None:
    """Replace each large mesh that no collision uses by one with `KEPT` of its faces."""
    solid = {geom.meshname for geom in spec.geoms if geom.contype or geom.conaffinity}
    model = spec.copy().compile()
    for mesh in list(spec.meshes):
        faces = _faces(model, mesh.name)
        if mesh.name in solid or len(faces) <= FEWEST:
            continue
        vertices, faces = _weld(_vertices(model, mesh.name), faces)
        share = max(KEPT, FEWEST / len(faces))
        points, triangles = fast_simplification.simplify(vertices, faces, 1.0 - share)[:2]
        lighter = f"{mesh.name}_light"
        # A mesh read from a file keeps the file's normals, so a new one has to take its place.
        spec.add_mesh(
            name=lighter,
            uservert=points.astype(float).ravel().tolist(),
            userface=triangles.astype(int).ravel().tolist(),
        )
        for geom in spec.geoms:
            if geom.meshname == mesh.name:
                geom.meshname = lighter
        spec.delete(mesh)


def _faces(model: mujoco.MjModel, name: str) -> np.ndarray:
    mesh = model.mesh(name)
    start, count = int(mesh.faceadr[0]), int(mesh.facenum[0])
    return model.mesh_face[start : start + count].astype(np.int32)


def _weld(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Merge vertices that lie in one place.

    A file repeats them for every normal, and triangles that share none fall apart in decimation.
    """
    _, first, group = np.unique(vertices.round(5), axis=0, return_index=True, return_inverse=True)
    faces = group.reshape(-1)[faces].astype(np.int32)
    whole = (np.diff(np.sort(faces, axis=1), axis=1) > 0).all(axis=1)
    return vertices[first], faces[whole]


def _vertices(model: mujoco.MjModel, name: str) -> np.ndarray:
    """Return a mesh's vertices as they were in its file: the compiler recentres and turns them."""
    mesh = model.mesh(name)
    start, count = int(mesh.vertadr[0]), int(mesh.vertnum[0])
    turn = np.zeros(9)
    mujoco.mju_quat2Mat(turn, model.mesh_quat[mesh.id])
    vertices = model.mesh_vert[start : start + count] @ turn.reshape(3, 3).T
    return (vertices + model.mesh_pos[mesh.id]).astype(np.float32)
