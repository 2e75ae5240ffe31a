"""The general prompts that come with the project: their scenes and manners, and what joins them."""
