"""DF-Prompt: when each modifier acts, and how strongly."""
