"""Tests of what is left on disk."""
