"""Families of diffusion models, one module each."""
