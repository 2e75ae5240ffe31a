"""The conversation as a graph."""
