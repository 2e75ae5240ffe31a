"""Searches the prompt database by words and by meaning."""
