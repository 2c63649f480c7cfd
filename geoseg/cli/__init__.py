"""geoseg.cli."""
