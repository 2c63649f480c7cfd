"""geoseg.scene."""
