"""Labelled images -> a model that `geoseg run` uses."""
