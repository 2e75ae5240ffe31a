"""The languages of prompts: DF-Prompt, A1111, ComfyUI and compel, read and written."""
