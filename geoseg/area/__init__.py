"""From a class map to numbers: true areas on the ellipsoid, as sums that do not depend on the cut."""

from geoseg.area.class_areas import class_areas, class_table
from geoseg.area.pixel_area import PixelAreas
from geoseg.area.sums import ClassTotals, Sums, class_totals

__all__ = [
    "ClassTotals",
    "PixelAreas",
    "Sums",
    "class_areas",
    "class_table",
    "class_totals",
]
