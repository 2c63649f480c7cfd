"""geoseg: from a folder of satellite or aerial images to a land-cover map, polygons, areas and change."""

__version__ = "0.1.0.dev0"
