"""Searches of the prompt database: by words, by similarity and by meaning."""
