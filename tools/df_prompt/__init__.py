"""DF-Prompt: words that act during part of the denoising, each with its own strength (Mo et al., CVPR 2024).

`parse.py` reads the language, `write.py` and `document.py` write its canonical text and JSON, `schedule.py` says which words act at
which step, and `convert.py` translates to and from what other programs read.
"""
