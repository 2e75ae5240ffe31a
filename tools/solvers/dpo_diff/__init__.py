"""DPO-Diff: which words make the picture follow the prompt."""
