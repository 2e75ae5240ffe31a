"""The stages that train the embedded checkpoint."""
