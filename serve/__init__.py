"""How people and assistants reach it: reports, terminal, web page, HTTP and MCP."""
