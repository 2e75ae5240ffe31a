"""The HTTP server: who may come in, the API's routes, OpenAI's API, addresses of files."""
