"""Limner for assistants: its commands as MCP tools, over stdio or below the HTTP server."""
