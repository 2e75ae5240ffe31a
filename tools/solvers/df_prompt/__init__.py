"""DF-Prompt: searches when each modifier acts, and how strongly."""
