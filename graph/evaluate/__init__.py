"""The claims, measured: one suite a file, each a list of rows with intervals and targets."""
