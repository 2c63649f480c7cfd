"""What is left on disk: class and confidence rasters, polygons, tables, STAC items. All through one write path."""
