"""The embedded checkpoint: a world of emoji scenes whose truth is known, the recipe that trains on it, and the trained weights."""
