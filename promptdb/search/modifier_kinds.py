"""Classifies modifiers by the words that people use for them: rules, no model.

The kinds are those of prompt engineers (Oppenlaender 2022: style, quality booster, ...), with light, camera, colour and mood separate from
style. Anything else is `other`.
"""

from __future__ import annotations

import re
from functools import lru_cache

_RULES: tuple[tuple[str, str], ...] = (
    (
        "artist",
        r"(art(work)?|painted|drawn|illustrated|designed|photographed|directed|style|made)? ?by (?!the\b|a\b|an\b)\w.*|"
        r".* style of .*",
    ),
    (
        "lighting",
        r".*\b(light(s|ing|ed)?|lit|backlit|sunlight|moonlight|candlelight|sun ?rays?|god ?rays?|rays of \w+|"
        r"glow(ing)?|luminous|"
        r"shadows?|golden hour|blue hour|chiaroscuro|dusk|dawn|sunset|lens flare|ray ?trac(ing|ed)|global illumination|"
        r"ambient occlusion)\b.*",
    ),
    (
        "quality",
        r".*\b(masterpiece|best quality|high(est)? quality|quality|"
        r"detail(s|ed)?|intricate|sharp( focus)?|"
        r"crisp|\d ?k|u?hd|hdr|high ?res\w*|"
        r"resolution|award[ -]winning|trending|featured|contest winner|professional|perfect|stunning|beautiful|gorgeous|amazing|"
        r"artstation|deviantart|behance|pixiv|cgsociety|flickr|pinterest|smooth|polished)\b.*",
    ),
    (
        "medium",
        r".*\b(paint(ing|ed)?|oil on canvas|oils?|acrylics?|watercolou?rs?|gouache|ink|"
        r"pencil|charcoal|pastels?|sketch(es)?|drawing|line ?art|"
        r"illustration|photo(s|graph(s|y|ic)?)?|photoreal\w*|polaroid|render(s|ed|ing)?|octane|unreal engine( \d)?|blender|cinema ?4 ?d|"
        r"vray|3 ?d|cgi|digital art|concept art|matte|sculpture|statue|engraving|etching|woodcut|lithograph|mosaic|collage|poster|"
        r"comics?|comic book|manga|pixel ?art|voxel|low ?poly|vector|tattoo|"
        r"stained glass|embroidery|origami|film still|movie still|book cover|"
        r"isometric|logo|icon|sticker|blueprint|claymation|clay|linocut|paper ?(cut|craft)|"
        r"brush ?(strokes?|work)|impasto|glazes|washes|(cross-?)?hatching|stippling|cel shading|halftone)\b.*",
    ),
    (
        "camera",
        r".*\b(\d+ ?mm|f ?/? ?\d(\.\d)?|lens|bokeh|dof|depth of field|close ?-? ?up|macro|wide ?-? ?(angle|shot)|telephoto|fish ?eye|"
        r"(low|high|dutch|camera) angle|shot( on| from)?|view(ed)?|perspective|aerial|from (above|below|behind)|portrait shot|full body|"
        r"isometric|panorama(ic)?|exposure|aperture|kodak|leica|canon|nikon|film grain|tilt ?shift|symmetr(y|ical)|centered|"
        r"composition|rule of thirds|framing)\b.*",
    ),
    (
        "colour",
        r".*\b(colou?r(s|ful|ed)?|palette|monochrom(e|atic)|black and white|sepia|vibrant|vivid|saturated|"
        r"pastel|iridescent|neon|hues?|tones?)\b.*",
    ),
    (
        "style",
        r".*\b(style|\w+punk|\w{3,}ism|\w{3,}ist|art (nouveau|deco)|anime|ghibli|disney|pixar|fantasy|sci ?-? ?fi|science fiction|"
        r"gothic|"
        r"baroque|rococo|renaissance|victorian|medieval|retro|vintage|noir|"
        r"cartoon|kawaii|chibi|abstract|surreal|psychedelic|vaporwave|"
        r"synthwave|minimal(ist)?|ukiyo ?-? ?e|pop art|grunge|horror|futuristic|post ?-? ?apocalyptic|hyperrealistic|"
        r"realistic|photo ?real)\b.*",
    ),
    (
        "mood",
        r".*\b(dramatic|cinematic|epic|moody|dark|ominous|eerie|creepy|dreamy|ethereal|mystical|magical|serene|peaceful|calm|cozy|"
        r"melanchol(y|ic)|nostalgic|atmospheric|majestic|elegant|cute|happy|sad|dynamic|action|mysterious|whimsical|romantic|gloomy)\b.*",
    ),
)

KINDS = (*(kind for kind, _ in _RULES), "other")

_PATTERNS = tuple((kind, re.compile(pattern)) for kind, pattern in _RULES)


@lru_cache(1 << 16)
def kind_of(phrase: str) -> str:
    """Returns the kind of a phrase in lower case, by the first rule that matches."""
    return next((kind for kind, pattern in _PATTERNS if pattern.fullmatch(phrase)), "other")


PREFIX = 6  # letters that tell a medium: "engraved" and "engraving" begin alike

_NAMED = (
    *(re.compile(pattern.removeprefix(".*").removesuffix(".*")) for kind, pattern in _RULES if kind == "medium"),
    re.compile(  # of the styles those that are drawn in one way; "vintage" and "medieval" are said of things
        r"\b(anime|cartoon|art (nouveau|deco)|baroque|rococo|(impression|expression|pointill|cub|surreal)is[mt]|surreal|pop art|"
        r"ukiyo ?-? ?e|low ?-?poly|\w+punk)\b"
    ),
)

_EVERYDAY = re.compile(r"photograph|(film|cinematic) still|concept art|(digital|matte) painting|fantasy (art|illustration)|3d render")
_UNCOLOURED = re.compile(r"monochrome|black and white")


def as_in_seed(prompt: str) -> str:
    """Returns the prompt in lower case, with the names of media as the seed spells them: "watercolor", "photograph"."""
    return re.sub(r"\bphoto(s|graphs|graphy)?\b", "photograph", prompt.lower().replace("watercolour", "watercolor"))


def media_of(prompt: str) -> list[str]:
    """Returns the beginnings, in lower case, of the words by which a prompt names a medium or a style; empty where it names none."""
    words = (match[0] for rule in _NAMED for match in rule.finditer(as_in_seed(prompt)))
    return list(dict.fromkeys(word if " " in word else word[:PREFIX] for word in words))


def is_everyday(text: str) -> bool:
    """Whether a prompt is in a medium that people expect where none was said: a photograph in colour, a render, a digital painting."""
    return _EVERYDAY.search(text.lower()) is not None and _UNCOLOURED.search(text.lower()) is None
