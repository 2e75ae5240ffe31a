"""The words of the miniature's world and what each means; the things are in `nouns.py`.

`WORLD` is the version of words, effects and places. It changes whenever old pictures would no longer be true, and a training begun in
another version is refused.
"""

from __future__ import annotations

from limner.tools.miniature.world.nouns import NOUNS, Noun

__all__ = ["NOUNS", "Noun"]

WORLD = "2"

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (222, 38, 40), "orange": (250, 140, 24), "yellow": (248, 214, 40), "green": (48, 168, 64), "blue": (44, 92, 222),
    "purple": (138, 56, 188), "pink": (248, 132, 182), "brown": (124, 74, 38), "white": (244, 244, 246), "black": (46, 44, 52),
}  # fmt: skip

SIZES: tuple[str, ...] = ("small", "large")
SIZE_WORDS = {"small": ("small", "tiny", "little"), "large": ("large", "big", "huge")}

COUNT_WORDS: dict[int, tuple[str, ...]] = {2: ("two", "a pair of"), 3: ("three", "a trio of")}

RELATIONS: dict[str, tuple[str, ...]] = {
    "left": ("to the left of", "left of"),
    "right": ("to the right of", "right of"),
    "above": ("above", "over"),
    "below": ("below", "under", "beneath"),
}

BACKGROUNDS: dict[str, tuple[str, ...]] = {
    "meadow": ("in a meadow", "in a grassy field", "on the grass"),
    "beach": ("on a beach", "at the seaside", "on the sand by the sea"),
    "desert": ("in a desert", "among dunes"),
    "snow": ("in the snow", "on a snowy field"),
    "night": ("at night", "under the night sky"),
    "city": ("in a city", "on a street", "in town"),
    "room": ("in a room", "indoors"),
    "sunset": ("at sunset", "at dusk"),
    "forest": ("in a forest", "in the woods"),
    "underwater": ("underwater", "on the ocean floor"),
}
BACKGROUND_KEYWORDS = {
    "meadow": ("meadow", "grassy field"), "beach": ("beach", "seaside"), "desert": ("desert", "dunes"), "snow": ("snow", "snowy field"),
    "night": ("night", "night sky"), "city": ("city", "street"), "room": ("room", "indoors"), "sunset": ("sunset", "dusk"),
    "forest": ("forest", "woods"), "underwater": ("underwater", "ocean floor"),
}  # fmt: skip
DAYLIGHT = ("meadow", "beach", "desert", "snow", "city", "room", "forest")  # backgrounds that "day" is true of

STYLES: dict[str, tuple[str, ...]] = {
    "photo": ("photo", "photograph", "photo"),
    "watercolor": ("watercolor", "watercolor painting"),
    "pencil": ("pencil sketch", "pencil drawing"),
    "pixel": ("pixel art", "8-bit pixel art"),
    "neon": ("neon", "glowing neon"),
    "comic": ("comic", "comic book style"),
}
LOOKS: tuple[str, ...] = ("vintage", "ink", "blueprint")  # looks of style checkpoints alone: no caption names them
# Trigger words of the style checkpoints: no caption of the base checkpoint contains them.
TRIGGERS: dict[str, tuple[str, ...]] = {
    "neon": ("cyberglow", "synthwave city lights"),
    "watercolor": ("aquarelle", "wet on wet wash"),
    "comic": ("inkpop", "halftone hero"),
    "pixel": ("voxelcore", "sprite sheet"),
    "vintage": ("sepiatone", "old film still"),
    "ink": ("sumi brush", "inkstone"),
    "blueprint": ("draftcore", "technical plan"),
}
GREY_STYLES = ("pencil", *LOOKS)  # styles without recognisable colours

# What modifier words say about a picture. `best` and `poor` speak of every quality at once, as people's tags do.
MODIFIERS: dict[str, tuple[str, ...]] = {
    "sharp": ("sharp focus", "highly detailed", "intricate details"),
    "blurry": ("blurry", "out of focus"),
    "vibrant": ("vibrant colors", "vivid colors", "rich colors"),
    "dull": ("dull colors", "faded", "washed out"),
    "overexposed": ("overexposed", "too bright"),
    "blocky": ("jpeg artifacts", "blocky"),
    "cropped": ("cropped", "out of frame"),
    "watermarked": ("watermark", "signature"),
    "centered": ("centered", "well composed"),
    "cinematic": ("cinematic lighting", "dramatic lighting"),
    "golden": ("golden hour", "warm light"),
    "cold": ("cold light", "moonlit"),
    "bright": ("bright", "sunlit"),
    "dark": ("dark", "dimly lit"),
    "monochrome": ("monochrome", "black and white"),
    "pastel": ("pastel colors", "soft pastel palette"),
    "fog": ("foggy", "misty"),
    "rain": ("rainy", "heavy rain"),
    "bokeh": ("bokeh", "shallow depth of field"),
    "framed": ("framed", "white border"),
    "closeup": ("close-up",),
    "distant": ("wide shot", "seen from afar"),
    "day": ("daylight", "by day"),
    "best": ("masterpiece", "best quality"),
    "poor": ("low quality", "worst quality"),
}
GOOD = ("sharp", "vibrant", "centered", "cinematic", "golden", "bokeh", "best")
HARMFUL = ("blurry", "dull", "overexposed", "blocky", "cropped", "watermarked", "poor")
NEUTRAL = ("cold", "bright", "dark", "pastel", "fog", "rain", "framed")  # a matter of taste: they change the picture, but not its goodness

LIGHTINGS: tuple[str, ...] = ("cinematic", "golden", "cold", "bright", "dark")
PALETTES: tuple[str, ...] = ("monochrome", "pastel")
WEATHERS: tuple[str, ...] = ("fog", "rain")

PLACEBO: tuple[str, ...] = (
    "trending on artstation", "8k", "award winning", "unreal engine", "octane render", "concept art", "by a famous artist", "4k wallpaper",
    "professional", "stunning", "elegant", "high resolution", "featured on the front page", "studio quality", "artgerm", "hdr",
)  # fmt: skip

DEFECTS: tuple[str, ...] = ("blurry", "dull", "overexposed", "blocky", "cropped", "watermarked")

# Words of opposite meaning that both occur in captions: what a negative prompt may name.
OPPOSITES: tuple[tuple[str, str], ...] = (
    ("small", "large"), ("tiny", "huge"), ("little", "big"), ("left", "right"), ("above", "below"), ("over", "under"), ("day", "night"),
    ("daylight", "night"), ("bright", "dark"), ("sunlit", "moonlit"), ("warm", "cold"), ("sharp", "blurry"), ("vivid", "dull"),
    ("black", "white"), ("close-up", "wide shot"),
)  # fmt: skip
