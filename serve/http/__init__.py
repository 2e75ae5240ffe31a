"""The HTTP server: admission, the API's routes, OpenAI's API."""
