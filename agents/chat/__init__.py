"""What people say in a conversation, understood: the actions, the edits of a prompt, and the typed commands."""
