"""Prediction against reference: how good a class map is, scene by scene and overall."""
