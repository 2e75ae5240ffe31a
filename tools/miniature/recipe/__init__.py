"""How the embedded checkpoint is trained."""
