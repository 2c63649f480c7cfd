"""Scene + model -> a lazy xarray.Dataset: nothing is read before it is asked for."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import ParameterError
from geoseg.inference.inside import Inside
from geoseg.inference.lattice import TILE, Block
from geoseg.inference.recipe import Choices, Recipe, recipe_for
from geoseg.legend import NODATA, PROBABILITY_STEPS
from geoseg.models.at_gsd import at_gsd_of
from geoseg.models.load import Model
from geoseg.scene.open import open_scene
from geoseg.scene.scene import Scene

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["segment"]


def _compute(recipe: Recipe, block: Block, probabilities: bool) -> NDArray[np.uint8]:
    """Classes, confidence and, when asked, the probabilities of a block (2 + class, row, col)."""
    from geoseg.inference.rows import class_rows

    result = np.empty((_n_layers(recipe, probabilities), block.height, block.width), np.uint8)
    for rows in class_rows(recipe, block, probabilities=probabilities):
        inside = slice(rows.row_off - block.row_off, rows.row_off - block.row_off + len(rows.classes))
        result[0, inside], result[1, inside] = rows.classes, rows.confidence
        if rows.probabilities is not None:
            result[2:, inside] = rows.probabilities
    return result


def _n_layers(recipe: Recipe, probabilities: bool) -> int:
    return 2 + (len(recipe.legend) if probabilities else 0)


def segment(
    scene: "Scene | xr.DataArray | xr.Dataset",
    model: Model,
    *,
    choices: Choices | None = None,
    block_size: int = 4 * TILE,
    probabilities: bool = False,
    inside: Inside | None = None,
) -> "xr.Dataset":
    """The class map and the confidence of a scene, computed block by block when asked for.

    The blocks run the code that `geoseg run` runs, so the values are the same whatever the block size.

    Args:
        scene: What `open_scene` gave, or an xarray object that it takes: a lazy one is read window by window. Where its
            pixels are not those of the model, the results are on the grid of `geoseg.models.at_gsd.at_gsd_of`, unless
            ``choices`` say ``native_grid`` or ``force``.
        model: What `load_model` gave.
        choices: How to run the model; the card's own by default.
        block_size: Pixels along a side of a dask chunk.
        probabilities: Whether to give those of all classes, too.
        inside: The pixels of the results that are wanted, such as ``file_aoi("aoi.gpkg").inside(scene.geobox)`` of
            `geoseg.area.aoi`; all by default. Elsewhere is nodata, for which nothing is read.

    Returns:
        ``classes`` and ``confidence`` (percent), both uint8 (y, x) with nodata 255, dask-backed, with the scene's CRS
        and coordinates. ``classes.attrs`` carry class values and names. When asked, ``probabilities``, uint8
        (class, y, x) in steps of 1/254 that add up to 254, with the class names along ``class``.

    Raises:
        ModelError: If the model does not fit the scene.
        ParameterError: If a choice does not fit the model.
    """
    import dask.array as da
    import xarray as xr
    from dask.delayed import delayed
    from odc.geo.xr import wrap_xr

    if block_size < 1:
        raise ParameterError(f"block size {block_size} px: choose at least 1")
    if not isinstance(scene, Scene):
        scene = open_scene(scene)
    if not (choices or Choices()).force:
        scene, _ = at_gsd_of(model, scene)
    recipe = recipe_for(scene, model, choices, inside=inside)
    legend, geobox, (height, width) = recipe.legend, recipe.geobox, recipe.shape
    rows = range(0, height, block_size)
    cols = range(0, width, block_size)
    compute = delayed(_compute, pure=True)
    # one node of the graph, not one copy per block; a lazy array in it stays lazy
    recipe_once = delayed(recipe, traverse=False)
    grid = []
    for row in rows:
        line = []
        for col in cols:
            block = Block(
                row_off=row,
                col_off=col,
                height=min(block_size, height - row),
                width=min(block_size, width - col),
            )
            shape = (_n_layers(recipe, probabilities), block.height, block.width)
            line.append(da.from_delayed(compute(recipe_once, block, probabilities), shape=shape, dtype=np.uint8))
        grid.append(line)
    layers = da.block(grid)
    dataset = xr.Dataset(
        {
            "classes": wrap_xr(layers[0], geobox, nodata=legend.nodata),
            "confidence": wrap_xr(layers[1], geobox, nodata=legend.nodata),
        }
    )
    if probabilities:
        y, x = dataset["classes"].dims
        shares = wrap_xr(layers[2:], geobox, nodata=NODATA, dims=("class", str(y), str(x)), axis=1)
        dataset["probabilities"] = shares.assign_coords({"class": list(legend.names)})
        dataset["probabilities"].attrs.update(
            long_name="class probability", scale_factor=1 / PROBABILITY_STEPS, add_offset=0.0
        )
    dataset["classes"].attrs.update(
        long_name="land cover",
        flag_values=list(legend.values),
        flag_meanings=" ".join(n.replace(" ", "_") for n in legend.names),
        flag_colors=" ".join(c.color for c in legend),
    )
    dataset["confidence"].attrs.update(long_name="confidence", units="percent")
    return dataset
