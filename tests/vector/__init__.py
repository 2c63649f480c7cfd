"""Tests of polygons."""
