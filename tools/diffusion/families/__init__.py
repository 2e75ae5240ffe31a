"""What differs between families of diffusion models."""
