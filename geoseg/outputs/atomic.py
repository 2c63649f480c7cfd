"""The write path, in one door: files (:mod:`aside`), folders (:mod:`staging`), names and crash points.

A final name is absent, old, or complete and verified, whatever happens: an error, kill -9, a full disk, a power cut.
"""

from geoseg.outputs.aside import Aside, Published, publish
from geoseg.outputs.crash import CRASH_POINTS, crash_point
from geoseg.outputs.names import safe_name
from geoseg.outputs.staging import clean_leftovers, staging

__all__ = [
    "CRASH_POINTS",
    "Aside",
    "Published",
    "clean_leftovers",
    "crash_point",
    "publish",
    "safe_name",
    "staging",
]
