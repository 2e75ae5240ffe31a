"""A training of the miniature, much shortened, that saves after every step and tells each; started by its test, which kills it.

Takes the folder, and then the stages: all of them where none is named.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from limner.tools import training
from limner.tools.miniature.recipe.presets import STAGES
from limner.tools.miniature.train import train
from tests.tools.miniature.glyph_sheet import GLYPHS

SHARE = 0.001

if __name__ == "__main__":
    torch.set_num_threads(1)
    training.SAVE_SECONDS = -1.0
    work = Path(sys.argv[1])
    train("cpu", work / "out", work, stages=sys.argv[2:] or STAGES, share=SHARE, glyphs=GLYPHS, say=lambda text: print(text, flush=True))
