"""Rewriting, criticising and choosing prompts and instructions. No graph and no GPU; chat models stand behind one method, `ask`."""
