"""From a class map to polygons: a valid coverage whose rings follow pixel edges."""

from geoseg.vector.label import Components, label_components
from geoseg.vector.perimeter import perimeters_m
from geoseg.vector.polygonize import Polygons, polygonize, vectorize
from geoseg.vector.trace import Rings, trace_rings

__all__ = [
    "Components",
    "Polygons",
    "Rings",
    "label_components",
    "perimeters_m",
    "polygonize",
    "trace_rings",
    "vectorize",
]
