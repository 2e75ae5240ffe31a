"""Substitutes for words: from a file derived from WordNet or from a chat model, and checks that a substitution keeps the meaning."""
