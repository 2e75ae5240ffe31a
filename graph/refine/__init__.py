"""The graphs that refine one prompt."""
