"""geoseg.area."""
