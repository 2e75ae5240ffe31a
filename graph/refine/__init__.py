"""Refining one prompt, as a graph."""
