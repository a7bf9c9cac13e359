"""Fewer faces for the same look: what is only drawn is decimated, and merged by body and colour.

Faces and changes of colour cost most where there are shadows, since everything is drawn three times
there. robosuite's Panda has 149 000 faces in 55 parts; here it has 7 500 in 19.
"""

import functools
from collections import defaultdict
from typing import NamedTuple

import fast_simplification
import mujoco
import numpy as np

TOLERANCE, SHARE = 0.0015, 0.97
"""This share of a part's vertices stays within the tolerance of its new surface [m]; at the middle
of the workspace a pixel of a 256 px image is 3 mm."""
SMALLEST = 0.02
"""Parts no longer than this are left out [m]: lamps and screws of a few pixels."""
LIFT = 0.001
"""Parts of another colour than a body's largest are drawn this far outside of where they are [m]:
covers lie close on shells, which would show through once both are simplified."""
LADDER = (24, 50, 100, 150, 200, 300, 450, 700, 1000, 1500)
"""Numbers of faces that are tried, fewest first."""
STEEPEST = 80
"""No part is reduced by more than this factor: decimation gets stuck there."""
SAMPLES = 300
"""Vertices at which the distance to the new surface is measured."""
ALIKE = 0.8
"""Cosine between a face and a normal that may belong to it; MuJoCo draws those below it flat."""
NEIGHBOURS = 24
"""Old vertices around a new one among which a normal is looked for."""


class Surface(NamedTuple):
    """Triangles with a normal at each vertex; an edge is sharp where vertices are repeated.

    Attributes:
        vertices: Positions [m], of shape `[n 3]`.
        normals: Unit vectors, of shape `[n 3]`.
        faces: Indices of vertices, of shape `[m 3]`.
    """

    vertices: np.ndarray
    normals: np.ndarray
    faces: np.ndarray


def decimate_visuals(spec: mujoco.MjSpec) -> None:
    """Replace the meshes that no collision uses by one light mesh for each body and colour."""
    twin = spec.copy()
    model = twin.compile()
    groups, drawn = defaultdict(list), set()
    for geom, compiled in zip(spec.geoms, twin.geoms, strict=True):
        if geom.meshname and not (geom.contype or geom.conaffinity):
            groups[geom.parent.name, _look(model, compiled.id)].append((geom, compiled.id))
            drawn.add(geom.meshname)
    surfaces = {key: [_surface(model, i) for _, i in members] for key, members in groups.items()}
    largest = defaultdict(float)
    for (body, _), parts in surfaces.items():
        largest[body] = max(largest[body], *map(_size, parts))
    for number, ((body, look), members) in enumerate(groups.items()):
        parts = surfaces[body, look]
        light = [_lighter(part) for part in parts if _size(part) > SMALLEST]
        if max(map(_size, parts)) < largest[body]:
            light = [_lifted(part) for part in light]
        (first, _), *others = members
        for geom, _ in others if light else members:
            spec.delete(geom)
        if light:
            # A mesh read from a file keeps the file's normals, so a new one has to take its place.
            first.meshname = _add_mesh(spec, f"{body}_{number}_light", _merge(light))
            first.pos, first.quat = [0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]
            _paint(spec, first)
    still_used = {geom.meshname for geom in spec.geoms}
    for mesh in list(spec.meshes):
        if mesh.name in drawn - still_used:
            spec.delete(mesh)


def _paint(spec: mujoco.MjSpec, geom: mujoco.MjsGeom) -> None:
    """Give a geom its material's colour instead of the material, which takes longer to draw."""
    material = spec.material(geom.material) if geom.material else None
    if material is not None and not any(material.textures):
        geom.rgba, geom.material = material.rgba, ""


def _look(model: mujoco.MjModel, geom: int) -> tuple[float, ...]:
    """Return what tells one colour from another."""
    material = model.geom_matid[geom]
    if material < 0:
        return tuple(model.geom_rgba[geom].tolist())
    shine = (model.mat_specular, model.mat_shininess, model.mat_emission)
    rgba = model.mat_rgba[material].round(3).tolist()
    return (
        *rgba,
        *(float(value[material]) for value in shine),
        *model.mat_texid[material].astype(float).tolist(),
    )


def _surface(model: mujoco.MjModel, geom: int) -> Surface:
    """Return a geom's mesh in the frame of its body."""
    mesh, turn = model.geom_dataid[geom], np.zeros(9)
    mujoco.mju_quat2Mat(turn, model.geom_quat[geom])
    turn = turn.reshape(3, 3)
    part = slice(model.mesh_faceadr[mesh], model.mesh_faceadr[mesh] + model.mesh_facenum[mesh])
    vertex = model.mesh_face[part].ravel() + model.mesh_vertadr[mesh]
    normal = model.mesh_facenormal[part].ravel() + model.mesh_normaladr[mesh]
    corners = _turned(model.mesh_vert[vertex], turn) + model.geom_pos[geom]
    return _weld(corners, _turned(model.mesh_normal[normal], turn))


def _turned(vectors: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """Return `vectors [n 3]`, turned; a matrix product's last digits depend on how many threads."""
    return np.einsum("ni,ji->nj", vectors, turn)


def _size(surface: Surface) -> float:
    return float(np.linalg.norm(np.ptp(surface.vertices, axis=0)))


def _weld(corners: np.ndarray, normals: np.ndarray) -> Surface:
    """Return a surface of triangles' corners `[3m 3]`; those alike become one vertex."""
    both = np.concatenate([corners.round(6), normals.round(3)], axis=1)
    distinct, vertex = np.unique(both, axis=0, return_inverse=True)
    return Surface(distinct[:, :3], distinct[:, 3:], vertex.reshape(-1, 3).astype(np.int32))


def _lifted(surface: Surface) -> Surface:
    """Return the surface moved outwards; what is one place stays one, sharp edges too."""
    places, place = np.unique(surface.vertices.round(5), axis=0, return_inverse=True)
    out = np.zeros_like(places)
    np.add.at(out, place.reshape(-1), surface.normals)
    out *= LIFT / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-9)
    return surface._replace(vertices=surface.vertices + out[place.reshape(-1)])


def _merge(surfaces: list[Surface]) -> Surface:
    vertices, normals, faces = zip(*surfaces, strict=True)
    starts = np.cumsum([0, *map(len, vertices[:-1])])
    moved = [part + start for part, start in zip(faces, starts, strict=True)]
    return Surface(np.concatenate(vertices), np.concatenate(normals), np.concatenate(moved))


def _add_mesh(spec: mujoco.MjSpec, name: str, surface: Surface) -> str:
    spec.add_mesh(
        name=name,
        uservert=surface.vertices.ravel().tolist(),
        usernormal=surface.normals.ravel().tolist(),
        userface=surface.faces.ravel().tolist(),
        inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL,  # a merged mesh encloses no volume
    )
    return name


def _lighter(surface: Surface) -> Surface:
    """Return the surface with as few faces as `TOLERANCE` allows, shaded as before."""
    return _decimated(*(array.tobytes() for array in surface))


@functools.lru_cache(maxsize=200)  # the same robot stands in many scenes
def _decimated(vertices: bytes, normals: bytes, faces: bytes) -> Surface:
    surface = Surface(
        np.frombuffer(vertices).reshape(-1, 3),
        np.frombuffer(normals).reshape(-1, 3),
        np.frombuffer(faces, np.int32).reshape(-1, 3),
    )
    # Triangles fall apart in decimation where they do not share vertices.
    points, point = np.unique(surface.vertices.round(5), axis=0, return_inverse=True)
    triangles = point.reshape(-1)[surface.faces]
    whole = (np.diff(np.sort(triangles, axis=1), axis=1) > 0).all(axis=1)
    points, triangles = points.astype(np.float32), triangles[whole].astype(np.int32)
    return _shade(*_fewest(points, triangles), surface)


def _fewest(points: np.ndarray, triangles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first step of the ladder that is within the tolerance."""
    sample = points[:: max(1, len(points) // SAMPLES)]
    for count in LADDER:
        if len(triangles) / STEEPEST < count < len(triangles):
            less = 1.0 - count / len(triangles)
            light = fast_simplification.simplify(points, triangles, less, agg=3)[:2]
            if np.quantile(_distance(sample, light[0][light[1]]), SHARE) < TOLERANCE:
                return light
    return points, triangles


def _distance(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Return how far each of `points [n 3]` is, about, from the nearest of `triangles [m 3 3]`."""
    origin, along, across = triangles[:, 0], *(triangles[:, 1:] - triangles[:, :1]).swapaxes(0, 1)
    aa, ab, bb = (along * along).sum(1), (along * across).sum(1), (across * across).sum(1)
    determinant = np.maximum(aa * bb - ab * ab, 1e-18)
    offset = points[:, None] - origin
    a = np.einsum("nmi,mi->nm", offset, along)
    b = np.einsum("nmi,mi->nm", offset, across)
    u = np.clip((bb * a - ab * b) / determinant, 0.0, 1.0)
    v = np.clip((aa * b - ab * a) / determinant, 0.0, 1.0 - u)
    gap = offset - u[..., None] * along - v[..., None] * across
    return np.sqrt(np.einsum("nmi,nmi->nm", gap, gap).min(axis=1))


def _shade(points: np.ndarray, triangles: np.ndarray, like: Surface) -> Surface:
    """Return triangles whose corners have the normals of the nearest of `like` that face alike."""
    corners = points[triangles].astype(np.float64)
    facing = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(facing, axis=1)
    solid = area > 1e-12
    used, point = np.unique(triangles[solid], return_inverse=True)
    candidates = like.normals[_nearest(points[used], like.vertices)[point.reshape(-1)]]
    facing = np.repeat(facing[solid] / area[solid, None], 3, axis=0)
    alike = np.einsum("cki,ci->ck", candidates, facing) > ALIKE
    chosen = candidates[np.arange(len(candidates)), alike.argmax(axis=1)]
    normals = np.where(alike.any(axis=1)[:, None], chosen, facing)
    return _weld(corners[solid].reshape(-1, 3), normals)


def _nearest(points: np.ndarray, vertices: np.ndarray) -> np.ndarray:
    """Return the indices of the vertices nearest to each of `points [n 3]`, in order."""
    count = min(NEIGHBOURS, len(vertices))
    square, near = (vertices**2).sum(axis=1), []
    for part in np.array_split(points, 1 + len(points) // 256):
        distance = square - 2.0 * np.einsum("ni,mi->nm", part, vertices)
        few = np.argpartition(distance, count - 1, axis=1)[:, :count]
        order = np.take_along_axis(distance, few, axis=1).argsort(axis=1, kind="stable")
        near.append(np.take_along_axis(few, order, axis=1))
    return np.concatenate(near)
