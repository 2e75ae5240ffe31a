"""The negative library: words that people put into negative prompts whatever the picture, in four slots by what they warn of.

Our own list. The paper's code has such a space beside the antonyms ("NPLib", four slots), though its text never names it.
"""

from __future__ import annotations

LIBRARY: tuple[tuple[str, ...], ...] = (
    (  # how well it is made
        "blurry", "low quality", "worst quality", "out of focus", "grainy", "pixelated", "jpeg artifacts", "low resolution", "noisy",
        "unfinished", "amateurish", "sloppy", "smudged", "compressed",
    ),
    (  # what is where
        "cropped", "out of frame", "cluttered", "duplicate", "distorted", "deformed", "disfigured", "extra limbs", "missing parts",
        "merged objects", "tilted", "crowded", "empty", "off-center",
    ),
    (  # light and colour
        "dull colors", "washed out", "overexposed", "underexposed", "too bright", "too dark", "faded", "oversaturated", "monochrome",
        "flat lighting", "harsh shadows", "muddy colors", "hazy", "low contrast",
    ),
    (  # what it looks like as a whole
        "watermark", "text", "signature", "logo", "border", "frame", "collage", "cartoon", "sketch", "painting", "3d render", "plastic",
        "surreal", "plain",
    ),
)  # fmt: skip
"""One tuple a slot, most general warnings first; single words and phrases of at most two words."""
