"""DPO-Diff: searches which words make the picture follow the prompt."""
