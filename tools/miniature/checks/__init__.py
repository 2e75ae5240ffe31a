"""Measurements of the embedded checkpoint."""
