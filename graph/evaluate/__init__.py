"""Suites that measure what the project claims: one a file, each a list of rows with intervals and targets."""
