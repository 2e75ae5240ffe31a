"""Drawing pictures: schedules, noise, conditioning and batched denoising."""
