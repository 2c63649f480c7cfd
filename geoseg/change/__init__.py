"""Two class maps or more -> what became what, where and how much."""

from geoseg.change.codes import ChangeCodes
from geoseg.change.components import ChangeComponents, change_components
from geoseg.change.intensity import Intensity, intensity_analysis
from geoseg.change.transitions import Transitions, count_transitions

__all__ = [
    "ChangeCodes",
    "ChangeComponents",
    "Intensity",
    "Transitions",
    "change_components",
    "count_transitions",
    "intensity_analysis",
]
