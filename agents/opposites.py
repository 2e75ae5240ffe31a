"""Finds keywords that contradict a description, by a small, cautious table of families; used where there is no language model."""

from __future__ import annotations

from limner.agents.guard import holds

Group = tuple[tuple[str, ...], ...]

_GROUPS: tuple[Group, ...] = (
    (
        ("photo", "photograph", "photography", "photorealistic", "photorealism", "dslr", "film still", "35mm"),
        ("painting", "watercolor", "watercolour", "gouache", "acrylic", "impressionist", "impressionism", "fresco"),
        ("drawing", "sketch", "pencil", "charcoal", "lineart", "line art", "engraving", "etching"),
        ("comic", "cartoon", "anime", "manga", "cel shading"),
        ("pixel art", "pixel", "8-bit", "16-bit", "voxel"),
        ("3d render", "3d", "render", "cgi", "unreal engine", "octane render", "blender"),
        ("neon",),
        ("sculpture", "origami", "claymation", "embroidery", "mosaic", "stained glass"),
    ),
    (  # cameras, and media that need none; not bokeh and depth of field, which improve paintings too where a model learned it so
        ("lens", "film grain", "shutter speed", "long exposure", "f/1.8", "f/2.8", "f/8", "f/11", "photo", "photograph"),
        (
            "painting", "watercolor", "watercolour", "gouache", "acrylic", "oil on canvas", "ukiyo-e", "woodblock", "fresco",
            "drawing", "sketch", "pencil", "charcoal", "line art", "engraving", "etching", "linocut", "woodcut",
            "pixel art", "vector", "logo", "icon", "stained glass", "mosaic", "embroidery", "tattoo",
        ),
    ),
    (
        ("monochrome", "grayscale", "greyscale", "black and white", "black-and-white", "sepia"),
        ("vibrant", "vivid", "saturated", "rich colors", "rich colours"),
        ("dull", "faded", "washed out", "muted", "desaturated", "pastel"),
        ("colorful", "colourful", "multicolored"),
    ),
    (
        ("blurry", "blurred", "out of focus", "soft focus", "hazy", "motion blur"),
        ("sharp", "crisp", "in focus", "detailed", "details"),
    ),
    (
        ("minimalist", "minimal", "simple", "plain", "flat"),
        ("intricate", "detailed", "details", "ornate", "busy", "cluttered", "baroque"),
    ),
    (
        ("night", "midnight", "moonlit", "nocturnal"),
        ("sunset", "dusk", "golden hour", "twilight"),
        ("sunrise", "dawn", "morning"),
        ("noon", "daylight", "day", "sunny", "sunlit", "midday"),
    ),
    (("dark", "dim", "gloomy", "shadowy", "low key"), ("bright", "sunny", "overexposed", "high key")),
    (("cropped", "out of frame", "cut off"), ("centered", "centred", "well composed", "full body")),
    (
        ("close-up", "closeup", "close up", "macro"),
        ("wide shot", "wide angle", "panorama", "panoramic", "aerial", "bird's-eye view"),
    ),
    (
        ("low quality", "worst quality", "bad quality", "poor", "amateur", "lowres"),
        ("best quality", "high quality", "masterpiece", "professional"),
    ),
    (("indoors", "indoor", "interior", "room"), ("outdoors", "outdoor", "exterior", "outside", "landscape")),
    (("sunny", "clear sky"), ("rain", "rainy", "stormy", "storm"), ("snow", "snowy", "blizzard"), ("fog", "foggy", "misty", "mist")),
    (("summer",), ("winter",), ("spring",), ("autumn", "fall")),
    (
        ("happy", "cheerful", "joyful", "smiling"),
        ("sad", "gloomy", "melancholic", "melancholy", "crying"),
        ("horror", "scary", "creepy", "terrifying"),
    ),
    (("modern", "futuristic", "sci-fi", "cyberpunk"), ("vintage", "retro", "ancient", "medieval", "antique", "victorian")),
    (("static", "calm", "serene", "peaceful"), ("dynamic", "chaotic", "action", "explosive")),
)

_CONTENT = (
    "red orange yellow green blue purple violet pink white black brown gray grey beige turquoise teal crimson scarlet",
    "small tiny little large big huge giant one two three four five six many several 1girl 1boy solo",
    "man men woman women boy girl child children people person crowd animal",
    "left right above below under beneath behind",
    "meadow grass field grassy beach seaside sea ocean sand desert dunes snow snowy forest woods jungle mountain mountains river lake",
    "city street town village room indoors outdoors night sky sunset dusk dawn space moon sun garden kitchen castle",
)
_CONTENT_WORDS = frozenset(word for line in _CONTENT for word in line.split())


def contradicts(keyword: str, text: str) -> bool:
    """Whether `text` negates `keyword`, or names another of its kind ("pixel art" against "a photo of a cat")."""
    if any(holds(text, f"{no} {word}") for word in _words(keyword) for no in ("no", "not", "without")):
        return True
    for group in _GROUPS:
        mine, theirs = _families(keyword, group), _families(text, group)
        if mine and theirs and not mine & theirs:
            return True
    return False


def agrees(keyword: str, text: str) -> bool:
    """Whether `text` names `keyword` or one of its family, so that it must not go into the negative prompt."""
    return holds(text, keyword) or any(_families(keyword, group) & _families(text, group) for group in _GROUPS)


def adds_content(keyword: str, text: str) -> bool:
    """Whether `keyword` names a colour, size, number, person, place or time of day that `text` does not, which would change the subject."""
    return any(word in _CONTENT_WORDS and not holds(text, word) for word in _words(keyword))


def _families(text: str, group: Group) -> set[int]:
    return {index for index, family in enumerate(group) if any(holds(text, word) for word in family)}


def _words(keyword: str) -> list[str]:
    return keyword.casefold().replace("-", " ").split()
