"""Where water runs and how high the land is: a meandering river, its tributaries, a reservoir."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse import csgraph

from sample_data.noise import Floats, fractal, nearest_on_line, smoothstep

__all__ = ["GRID_PX", "Terrain", "grid_graph", "make_terrain"]

GRID_PX = 4
"""Pixels per node of the grid on which water and roads find their way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terrain:
    """Land without cover; arrays are (row, col)."""

    elevation: Floats
    """Metres."""
    slope: Floats
    """Rise over run, at the scale of a field."""
    river_px: Floats
    """Distance to the river's centre line."""
    river_half_px: Floats
    """Half the river's width where it is nearest."""
    river_bend: Floats
    """Curvature times side: positive on the inner side of a bend."""
    stream_px: Floats
    """Distance to the nearest tributary's centre line."""
    stream_half_px: Floats
    """Half of that tributary's width."""
    oxbow_px: Floats
    """Distance to the centre line of an old river arm."""
    basin: Floats
    """Above 0.5 where the reservoir can be."""
    lake_level: float
    """Elevation of the full reservoir."""
    flats: Floats
    """1 on the flood plain, 0 on the hills."""


def _river(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Centre line from west to east, (row, col) each half pixel: a skewed meander (Kinoshita 1961)."""
    height, width = shape
    n = 8 * width + 4000
    wander = ndimage.gaussian_filter1d(rng.standard_normal(n), 400) * 30.0
    swing = np.deg2rad(np.clip(68 + 34 * ndimage.gaussian_filter1d(rng.standard_normal(n), 250) * 28.0, 20, 92))
    wavelength = 240.0 * np.exp(0.38 * ndimage.gaussian_filter1d(rng.standard_normal(n), 200) * 25.0)
    unrest = 0.2 * ndimage.gaussian_filter1d(rng.standard_normal(n), 45) * 12.0
    phase = np.cumsum(np.pi / wavelength) + rng.uniform(0, 2 * np.pi)
    start, end = height * rng.uniform(0.3, 0.7, 2)
    line = np.empty((n, 2))
    row, col = start, -150.0
    for i in range(n):
        target = start + (end - start) * col / width + wander[i] * 0.08 * height
        bend = swing[i] * np.sin(phase[i]) + swing[i] ** 3 * (np.cos(3 * phase[i]) / 32 - np.sin(3 * phase[i]) / 192)
        heading = bend + unrest[i] + np.clip((target - row) / (0.3 * height), -0.6, 0.6)
        row, col = row + 0.5 * np.sin(heading), col + 0.5 * np.cos(heading)
        line[i] = row, col
        if col > width + 150:
            return line[: i + 1]
    return line


def grid_graph(cost: NDArray[np.float64]) -> sparse.csr_matrix:
    """Eight-neighbour graph of a grid; an edge costs its length times the mean cost of its ends."""
    node = np.arange(cost.size).reshape(cost.shape)
    rows, cols, weights = [], [], []
    for a, b, length in (
        ((slice(None), slice(None, -1)), (slice(None), slice(1, None)), 1.0),
        ((slice(None, -1), slice(None)), (slice(1, None), slice(None)), 1.0),
        ((slice(None, -1), slice(None, -1)), (slice(1, None), slice(1, None)), 2**0.5),
        ((slice(None, -1), slice(1, None)), (slice(1, None), slice(None, -1)), 2**0.5),
    ):
        rows.append(node[a].ravel())
        cols.append(node[b].ravel())
        weights.append((length * 0.5 * (cost[a] + cost[b])).ravel())
    return sparse.csr_matrix(
        (np.concatenate(weights), (np.concatenate(rows), np.concatenate(cols))), shape=(cost.size, cost.size)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drainage:
    """Which way each node of the coarse grid drains."""

    parent: NDArray[np.int64]
    order: NDArray[np.int64]
    """Nodes from the river up."""
    drained: NDArray[np.float64]
    """Nodes that drain through each node, itself included."""
    height: NDArray[np.float64]


def _drainage(rng: np.random.Generator, river: NDArray[np.bool_], calm: Floats, relief: Floats) -> _Drainage:
    """Drain all land to the river along cheapest paths, then raise it by the slope-area law.

    Channels that carry more water are flatter (slope proportional to area ** -0.45, Flint 1974), which carves
    valleys and ridges that look eroded.
    """
    rough = fractal(rng, river.shape, beta=2.0, longest_px=80)
    graph = grid_graph(np.exp(1.2 * rough.astype(np.float64)))
    distance, parent, _ = csgraph.dijkstra(
        graph, directed=False, indices=np.flatnonzero(river), min_only=True, return_predecessors=True
    )
    order = np.argsort(distance, kind="stable")
    drained = [1.0] * distance.size
    up = parent.tolist()
    for node in order[::-1].tolist():
        if up[node] >= 0:
            drained[up[node]] += drained[node]
    steep = (relief * calm).ravel().tolist()
    height = [0.0] * distance.size
    for node in order.tolist():
        if up[node] >= 0:
            height[node] = height[up[node]] + steep[node] * float(drained[node]) ** -0.45
    return _Drainage(parent=parent, order=order, drained=np.array(drained), height=np.array(height))


def _streams(
    drainage: _Drainage, shape: tuple[int, int], least: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points (row, col) of the tributaries in pixels, each half pixel or denser, and half the width at each."""
    channel = drainage.drained > least
    # Each channel node that no channel drains into is a head; follow it down to water that is drawn already.
    fed = np.zeros(channel.size, dtype=bool)
    fed[drainage.parent[channel & (drainage.parent >= 0)]] = True
    seen = np.zeros(channel.size, dtype=bool)
    heads = [node for node in drainage.order[::-1].tolist() if channel[node] and not fed[node]]
    points, halves = [np.empty((0, 2))], [np.empty(0)]
    for head in heads:
        path = [head]
        while drainage.parent[path[-1]] >= 0 and not seen[path[-1]]:
            seen[path[-1]] = True
            path.append(int(drainage.parent[path[-1]]))
        if len(path) < 4:
            continue
        nodes = np.array(path)
        coarse = np.stack([nodes // shape[1], nodes % shape[1]], axis=1) * GRID_PX + GRID_PX / 2
        t = np.linspace(0, len(path) - 1, len(path) * GRID_PX * 2)
        fine = np.stack([np.interp(t, np.arange(len(path)), coarse[:, axis]) for axis in (0, 1)], axis=1)
        points.append(ndimage.gaussian_filter1d(fine, 2.2 * GRID_PX, axis=0, mode="nearest"))
        halves.append(np.interp(t, np.arange(len(path)), 0.35 * (drainage.drained[nodes] / least) ** 0.38))
    return np.concatenate(points), np.concatenate(halves)


def _reservoir(
    rng: np.random.Generator, drainage: _Drainage, shape: tuple[int, int], far: NDArray[np.bool_]
) -> tuple[Floats, float]:
    """Dam one tributary: nodes under water, and the level, of the candidate nearest to a good size."""
    by_parent = np.argsort(drainage.parent, kind="stable")
    first = np.searchsorted(drainage.parent[by_parent], np.arange(far.size + 1)).tolist()
    upstream = by_parent.tolist()
    wanted = 0.011 * far.size
    choice = np.flatnonzero(far & (drainage.drained > 0.015 * far.size))
    best: tuple[float, set[int], float] = (np.inf, set(), 0.0)
    for dam in rng.permutation(choice)[:60].tolist():
        for depth in (12.0, 20.0, 30.0):
            level = drainage.height[dam] + depth
            flooded, front = {dam}, [dam]
            while front and len(flooded) < 3 * wanted:
                node = front.pop()
                above = [n for n in upstream[first[node] : first[node + 1]] if drainage.height[n] < level]
                flooded.update(above)
                front.extend(above)
            # Water that would run over a low divide makes a shore along the divide, too straight to be one.
            inside = np.zeros(far.size, dtype=bool)
            inside[list(flooded)] = True
            around = ndimage.binary_dilation(inside.reshape(shape), np.ones((3, 3))).ravel() & ~inside
            miss = abs(len(flooded) - wanted) + 40.0 * int((drainage.height[around] < level - 1.0).sum())
            if miss < best[0]:
                best = (miss, flooded, level)
    mask = np.zeros(far.size, dtype=np.float32)
    mask[list(best[1])] = 1.0
    return mask.reshape(shape), best[2]


def _old_arms(
    rng: np.random.Generator, river: NDArray[np.float64], curvature: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Sharp bends of the river set aside from it: oxbow lakes."""
    arcs = [np.empty((0, 2))]
    sharp = np.flatnonzero(np.abs(curvature) > np.quantile(np.abs(curvature), 0.85))
    taken: list[int] = []
    for at in rng.permutation(sharp).tolist():
        if any(abs(at - other) < 400 for other in taken) or len(taken) > len(river) // 1300:
            continue
        taken.append(at)
        arc = river[max(0, at - 90) : at + 90]
        out = arc[len(arc) // 2] - arc[[0, -1]].mean(axis=0)
        shift = rng.uniform(0.3, 1.2) * out + 40.0 * out / max(float(np.hypot(*out)), 1.0)
        arcs.append(arc + shift * rng.choice([-1.6, 1.0]))
    return np.concatenate(arcs)


def make_terrain(rng: np.random.Generator, shape: tuple[int, int]) -> Terrain:
    """Land of this many rows and columns; another state of ``rng`` is another place."""
    line = _river(rng, shape)
    river_px, at = nearest_on_line(line, shape)
    tangent = np.gradient(ndimage.gaussian_filter1d(line, 12, axis=0), axis=0)
    heading = np.unwrap(np.arctan2(tangent[:, 0], tangent[:, 1]))
    curvature = ndimage.gaussian_filter1d(np.gradient(heading) * 2.0, 20)
    width_noise = ndimage.gaussian_filter1d(rng.standard_normal(len(line)), 60) * 14.0
    half = rng.uniform(4.2, 6.0) * np.exp(0.16 * width_noise) + 18.0 * np.abs(curvature)
    pixel_row, pixel_col = np.ogrid[0 : shape[0], 0 : shape[1]]
    side = tangent[at, 1] * (pixel_row - line[at, 0]) - tangent[at, 0] * (pixel_col - line[at, 1])

    coarse = (-(-shape[0] // GRID_PX), -(-shape[1] // GRID_PX))
    coarse_px, _ = nearest_on_line(line / GRID_PX, coarse)
    plain = 18.0 * np.exp(0.45 * fractal(rng, coarse, beta=3.5, longest_px=150)) * rng.uniform(0.8, 1.3)
    calm = 0.025 + 0.975 * smoothstep((coarse_px / plain).astype(np.float32), 0.5, 2.2)
    relief = np.exp(0.55 * fractal(rng, coarse, beta=3.5, longest_px=200)) * rng.uniform(4.5, 7.0)
    drainage = _drainage(rng, coarse_px < 1.0, calm.astype(np.float32), relief.astype(np.float32))
    height = ndimage.gaussian_filter(drainage.height.reshape(coarse), 1.2)
    zoomed = _enlarge(height.astype(np.float32), shape)
    hummocks = fractal(rng, shape, beta=2.6, longest_px=60)
    elevation = (320.0 + zoomed + 0.8 * hummocks * np.minimum(zoomed / 30.0, 1.5)).astype(np.float32)
    rise = np.hypot(*np.gradient(ndimage.gaussian_filter(elevation, 3.0), 10.0))

    points, halves = _streams(drainage, coarse, least=0.0022 * 300 * 960)
    stream_px, stream_at = nearest_on_line(points, shape)
    far = (coarse_px > 2.5 * plain) & (ndimage.gaussian_filter(relief, 8) > np.median(relief))
    rim = max(3, min(coarse) // 8)
    far[:rim], far[-rim:], far[:, :rim], far[:, -rim:] = False, False, False, False
    basin, level = _reservoir(rng, drainage, coarse, far.ravel())
    oxbow_px, _ = nearest_on_line(_old_arms(rng, line, curvature), shape)
    return Terrain(
        elevation=elevation,
        slope=rise.astype(np.float32),
        river_px=river_px,
        river_half_px=half[at].astype(np.float32),
        river_bend=(np.sign(side) * curvature[at]).astype(np.float32),
        stream_px=stream_px,
        stream_half_px=(halves[stream_at] if halves.size else np.zeros(shape)).astype(np.float32),
        # Not where the river itself runs now.
        oxbow_px=np.where(river_px < half[at] + 9.0, 1e4, oxbow_px).astype(np.float32),
        basin=_enlarge(ndimage.gaussian_filter(ndimage.maximum_filter(basin, 5), 1.0), shape),
        lake_level=320.0 + level,
        flats=1.0 - _enlarge(smoothstep((coarse_px / plain).astype(np.float32), 0.6, 1.5), shape),
    )


def _enlarge(coarse: Floats, shape: tuple[int, int]) -> Floats:
    """A coarse grid at full size, by cubic interpolation between node centres."""
    row = (np.arange(shape[0]) + 0.5) / GRID_PX - 0.5
    col = (np.arange(shape[1]) + 0.5) / GRID_PX - 0.5
    full = ndimage.map_coordinates(coarse, np.meshgrid(row, col, indexing="ij"), order=3, mode="nearest")
    out: Floats = full.astype(np.float32)
    return out
