"""Words that can stand for other words: a WordNet-derived file, or a chat model's lists, and whether a substitution keeps the meaning."""
