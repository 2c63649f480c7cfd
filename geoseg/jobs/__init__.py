"""geoseg.jobs."""
