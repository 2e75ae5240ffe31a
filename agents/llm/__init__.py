"""Chat models: an OpenAI-compatible server, and the offline stand-in."""
