"""The image model: a checkpoint opened from a folder, and our own batched denoising loop over it."""
