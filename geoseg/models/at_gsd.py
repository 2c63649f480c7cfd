"""A scene brought to the pixel size that a model was trained at."""

from geoseg.models.load import Model
from geoseg.scene.gsd import gsd_axes_m
from geoseg.scene.resample import resampled
from geoseg.scene.scene import Scene

__all__ = ["at_gsd_of"]

_COARSEST = 4.0
"""Times by which a scene's pixels may be larger than the model's: nothing smaller can be made up between them."""


def at_gsd_of(model: Model, scene: Scene, *, native_grid: bool = False) -> tuple[Scene, tuple[str, ...]]:
    """The scene on a grid of the model's pixel size, and what should be said of it; as it is where its own will do.

    Pixels are resampled as they are read. A scene whose pixels are more than four times as large stays as it is, and
    does not fit the model.

    Args:
        model: What `load_model` gave.
        scene: What `open_scene` gave.
        native_grid: Whether the results will be on the scene's own grid all the same, which is said.
    """
    wanted, tolerance = model.card.gsd_m, model.card.gsd_tolerance
    if wanted is None or scene.source is not None or scene.sources:  # two dates: that of the pair decides
        return scene, ()
    down, across = gsd_axes_m(scene.geobox)
    fits = not any(abs(size - wanted) > tolerance * wanted for size in (down, across))  # also where it is not known
    if fits or max(down, across) > _COARSEST * wanted:
        return scene, ()
    there = resampled(scene, wanted)
    shown = f"{down:.3g} m" if abs(down / across - 1) < 0.01 else f"{across:.3g} x {down:.3g} m"
    how = "averaged" if down * across < wanted**2 else "interpolated"
    note = (
        f"pixels of {shown} are {how} to the {wanted:g} m of model {model.card.name} as they are read: "
        f"{scene.width} x {scene.height} px become {there.width} x {there.height}"
        + (", and probabilities are brought back to the former" if native_grid else "")
        + ", on which all results are"
    )
    return there, (note,)
