"""The prompt database: prompts, instructions, drawings, scores and runs, in one SQLite file. Imports nothing else of this project."""
