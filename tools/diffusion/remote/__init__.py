"""Image models behind a server."""
