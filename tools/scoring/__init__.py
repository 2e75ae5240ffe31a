"""Scorers: each judges images against texts, each reads its weights from a folder, none knows who asks."""
