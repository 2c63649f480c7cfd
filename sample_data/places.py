"""Where people live: towns, villages, and the roads between them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import csgraph

from sample_data.noise import Floats, Masks, fractal, hash01, nearest_on_line
from sample_data.terrain import GRID_PX, Terrain, grid_graph

__all__ = ["Places", "make_places"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Settlements and roads of one landscape."""

    centers: NDArray[np.float64]
    """(row, col) of the settlements, the main town first."""
    radii_px: NDArray[np.float64]
    """Their sizes."""
    urban: Floats
    """1 in a centre, 0 at the edge of the built-up area, negative outside."""
    highway_px: Floats
    """Distance to the nearest road between towns."""
    road_px: Floats
    """Distance to the nearest road of any kind."""


def _sites(rng: np.random.Generator, terrain: Terrain, wet: Masks) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Settlements on dry, level ground, the larger ones near the river and apart from each other."""
    height, width = wet.shape
    # Every fourth pixel is enough to choose a site.
    thin = (slice(None, None, GRID_PX), slice(None, None, GRID_PX))
    dry_px = ndimage.distance_transform_edt(~wet)[thin].astype(np.float32)
    level = ndimage.gaussian_filter(terrain.slope, 8)[thin]
    noise = fractal(rng, (dry_px.shape[0], dry_px.shape[1]), beta=2.0, longest_px=80 / GRID_PX)
    span = float(np.sqrt(height * width))
    main = min(max(0.05 * span, 60.0), 0.2 * height)
    sizes = [main, 0.5 * main, 0.42 * main]
    # Villages keep their size however small the place; their number follows its area.
    sizes += rng.uniform(9.0, 26.0, max(3, round(height * width / 190_000))).tolist()
    centers: list[tuple[float, float]] = []
    kept: list[float] = []
    row, col = np.ogrid[0:height:GRID_PX, 0:width:GRID_PX]
    rim = np.minimum(np.minimum(row, height - 1 - row), np.minimum(col, width - 1 - col))
    for rank, radius in enumerate(sizes):
        near = np.abs(dry_px - 1.1 * radius) / radius if rank < 3 else np.zeros_like(dry_px)
        score = -12.0 * level - 1.3 * near + (0.3 if rank < 3 else 1.0) * noise
        score = score - 50.0 * ((dry_px < 0.35 * radius + 2) | (rim < 1.3 * radius))
        for (r, c), other in zip(centers, kept, strict=True):
            apart = np.hypot(row - r, col - c)
            score = score - 50.0 * (apart < 1.5 * (radius + other) + 12.0) - 3.0 * np.exp(-apart / (0.12 * span))
        at = np.unravel_index(int(np.argmax(score)), score.shape)
        centers.append((float(at[0] * GRID_PX), float(at[1] * GRID_PX)))
        kept.append(radius)
    return np.array(centers), np.array(kept)


def _routes(
    cost: NDArray[np.float64], centers: NDArray[np.float64], n_main: int
) -> list[tuple[NDArray[np.float64], bool]]:
    """Cheapest ways that join all settlements, then the loops worth having; True for those between towns."""
    graph = grid_graph(cost)
    node = (centers[:, 0] // GRID_PX).astype(int) * cost.shape[1] + (centers[:, 1] // GRID_PX).astype(int)
    far, before = csgraph.dijkstra(graph, directed=False, indices=node, return_predecessors=True)
    between = far[:, node]
    tree = csgraph.minimum_spanning_tree(between).toarray() > 0
    pairs = {(int(min(a, b)), int(max(a, b))) for a, b in np.argwhere(tree)}
    # Highways: the shortest tree over the towns and the exits.
    towns = csgraph.minimum_spanning_tree(between[:n_main, :n_main]).toarray() > 0
    main = {(int(min(a, b)), int(max(a, b))) for a, b in np.argwhere(towns)}
    for a in range(len(node)):
        nearest = np.argsort(between[a], kind="stable")[1:3].tolist()
        pairs |= {(min(a, b), max(a, b)) for b in nearest if hash01(a, b)[0] < 0.66}
    routes = []
    for a, b in sorted(pairs | main):
        path = [int(node[b])]
        while path[-1] != node[a]:
            path.append(int(before[a, path[-1]]))
        nodes = np.array(path)
        coarse = np.stack([nodes // cost.shape[1], nodes % cost.shape[1]], axis=1) * GRID_PX + GRID_PX / 2
        t = np.linspace(0, len(path) - 1, len(path) * GRID_PX * 2)
        fine = np.stack([np.interp(t, np.arange(len(path)), coarse[:, axis]) for axis in (0, 1)], axis=1)
        routes.append((ndimage.gaussian_filter1d(fine, 3.0 * GRID_PX, axis=0, mode="nearest"), (a, b) in main))
    return routes


def _exits(center: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.float64]:
    """The left and right border at about the town's height: the highway comes from somewhere and goes on."""
    row = float(np.clip(center[0], 0.15 * shape[0], 0.85 * shape[0]))
    return np.array([[row * 0.7 + 0.15 * shape[0], 1.0], [row * 0.8 + 0.1 * shape[0], shape[1] - 2.0]])


def make_places(rng: np.random.Generator, terrain: Terrain, wet: Masks) -> Places:
    """Settle the land, keeping off water."""
    shape = (wet.shape[0], wet.shape[1])
    centers, radii = _sites(rng, terrain, wet)
    steep = terrain.slope[GRID_PX // 2 :: GRID_PX, GRID_PX // 2 :: GRID_PX].astype(np.float64)
    water = wet[GRID_PX // 2 :: GRID_PX, GRID_PX // 2 :: GRID_PX]
    rough = np.exp(0.4 * fractal(rng, (steep.shape[0], steep.shape[1]), beta=2.0, longest_px=40))
    cost = (1.0 + 25.0 * steep + 6.0 * water) * rough
    # The two exits take part as places right after the three towns, so that highways lead to them.
    stops = np.concatenate([centers[:3], _exits(centers[0], shape), centers[3:]])
    stops[:, 0] = np.clip(stops[:, 0], 0, steep.shape[0] * GRID_PX - 1)
    stops[:, 1] = np.clip(stops[:, 1], 0, steep.shape[1] * GRID_PX - 1)
    routes = _routes(cost, stops, 5)
    highway_px, _ = nearest_on_line(np.concatenate([points for points, is_main in routes if is_main]), shape)
    road_px, _ = nearest_on_line(np.concatenate([points for points, _ in routes]), shape)

    urban = np.full(shape, -9.0, dtype=np.float32)
    ragged = fractal(rng, shape, beta=2.4, longest_px=50)
    row, col = np.ogrid[0 : shape[0], 0 : shape[1]]
    for (r, c), radius in zip(centers, radii, strict=True):
        urban = np.maximum(urban, 1.0 - np.hypot(row - r, col - c) / radius)
    # Towns grow along their roads, and their outline is ragged.
    urban = urban + 0.2 * ragged + 0.3 * np.exp(-road_px / 5.0) * (urban > -1.2)
    return Places(
        centers=centers,
        radii_px=radii,
        urban=np.where(wet, -9.0, urban).astype(np.float32),
        highway_px=highway_px,
        road_px=road_px,
    )
