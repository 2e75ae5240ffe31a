"""Readers of what other tools made: the metadata of their pictures, and the texts that they copy. One module a tool."""
