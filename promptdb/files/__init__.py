"""Reads and writes files of prompts."""
