"""The web page: a file for each tab. Every button calls the service."""
