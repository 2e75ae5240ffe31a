"""Understanding turns of a conversation: the actions, edits of a prompt, and typed commands."""
