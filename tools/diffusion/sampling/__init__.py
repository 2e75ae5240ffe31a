"""Draws pictures: schedules, noise, conditioning, denoising in batches."""
