"""The embedded checkpoint: a world of emoji scenes with known ground truth, the training recipe, and the trained weights."""
