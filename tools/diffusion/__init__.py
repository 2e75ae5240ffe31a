"""The image model: a checkpoint opened from a folder, and a batched denoising loop over it."""
