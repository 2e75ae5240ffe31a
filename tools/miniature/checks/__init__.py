"""What is measured of the embedded checkpoint."""
