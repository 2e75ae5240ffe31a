"""Scorers: each rates images for texts, and reads its weights from a folder."""
