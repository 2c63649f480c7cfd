"""Shipped models, and the scripts that trained them on open data."""
