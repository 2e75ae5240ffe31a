"""Learning an instruction on a file of prompts, as a graph."""
