"""The front ends: command line, terminal, reports, web page, HTTP and MCP."""
