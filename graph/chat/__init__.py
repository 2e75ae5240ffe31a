"""The graph of a conversation about a picture, and its threads."""
