"""What decides: rewriting, criticising, choosing. No graph and no GPU; chat models stand behind one `ask`."""
