"""The graph that learns an instruction on a file of prompts."""
