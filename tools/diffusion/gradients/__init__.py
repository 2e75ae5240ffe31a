"""Gradients of a score with respect to the text."""
