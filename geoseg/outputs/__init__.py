"""geoseg.outputs."""
