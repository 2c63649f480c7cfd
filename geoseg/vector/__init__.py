"""From a class map to polygons: a valid coverage whose rings follow pixel edges."""

from geoseg.vector.label import Components, label_components
from geoseg.vector.polygonize import Polygons, polygonize
from geoseg.vector.rings import Rings
from geoseg.vector.vectorizer import Outlines, vectorize

__all__ = [
    "Components",
    "Outlines",
    "Polygons",
    "Rings",
    "label_components",
    "polygonize",
    "vectorize",
]
