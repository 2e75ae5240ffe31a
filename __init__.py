"""Limner: an agentic optimizer of text-to-image prompts."""
