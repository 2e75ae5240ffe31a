"""Readers and writers of prompt files."""
