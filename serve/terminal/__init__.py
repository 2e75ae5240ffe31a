"""Output and input of a person at a terminal."""
