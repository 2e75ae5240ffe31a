"""The world that the embedded checkpoint draws."""
