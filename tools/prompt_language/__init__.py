"""The prompt languages DF-Prompt, A1111, ComfyUI and compel: readers, writers and conversion."""
