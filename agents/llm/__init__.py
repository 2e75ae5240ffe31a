"""Chat models: a server that speaks OpenAI's API, and the offline stand-in."""
