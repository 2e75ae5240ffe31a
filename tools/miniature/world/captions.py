"""Writes captions for scenes the way people write prompts: sentences or keyword lists that leave out much of what the picture shows.

What a caption names is true of its picture; what it leaves out may be anything. Placebo words are added without regard to the picture, so
that they carry no meaning. One caption in nine is crowded: it names nearly every true modifier and many placebo words. Captions that
train the UNet may be careless (`Manner.careless`): some crowded ones name another thing of the same group, as long tag lists on the
web do. Captions that train the scorers are never careless.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from limner.tools.miniature.world.nouns import NOUNS, plural
from limner.tools.miniature.world.scene import Scene, Thing
from limner.tools.miniature.world.vocabulary import (
    BACKGROUND_KEYWORDS,
    BACKGROUNDS,
    COUNT_WORDS,
    DAYLIGHT,
    MODIFIERS,
    PLACEBO,
    RELATIONS,
    SIZE_WORDS,
    STYLES,
)  # fmt: skip

RARE_SHARE = 0.1
CROWDED_SHARE = 0.11
CROWDED_TAGS = 7  # least number of tags in a crowded caption
WRONG_SHARE = 0.35  # share of the careless crowded captions that name a wrong thing
POSES = ("", "", "", "", "standing", "seen", "shown", "placed")


@dataclass(frozen=True, slots=True)
class Manner:
    """How a caption is written.

    `modifiers`: the caption may name qualities of the picture. `full`: it leaves out no content. `careless`: a crowded caption may name a
    wrong thing, one of the first so many nouns; 0 for never. `crowded`: True or False forces it, None leaves it to chance.
    """

    modifiers: bool = True
    full: bool = False
    careless: int = 0
    crowded: bool | None = None


CONTENT = Manner(modifiers=False)
FULL = Manner(modifiers=False, full=True)
ANY = Manner()


def caption(scene: Scene, rng: np.random.Generator, manner: Manner = ANY) -> str:
    """Writes one caption of `scene`; `rng` chooses the wording."""
    crowded = manner.modifiers and (rng.random() < CROWDED_SHARE if manner.crowded is None else manner.crowded)
    tags = [*_style_tag(scene, rng, manner.full), *(_modifier_tags(scene, rng, crowded) if manner.modifiers else ())]
    if crowded and manner.careless and rng.random() < WRONG_SHARE:
        scene = _mistaken(scene, rng, manner.careless)
    if rng.random() < 0.6:
        text = _sentence(scene, rng, manner.full)
        if tags and tags[0] == "photo" and rng.random() < 0.7:
            text, tags = f"a photo of {text}", tags[1:]
    else:
        text = _keywords(scene, rng, manner.full)
    return ", ".join([text, *tags])


def _sentence(scene: Scene, rng: np.random.Generator, full: bool) -> str:
    subject = _named(scene, rng, full)
    if scene.relation:
        second = _with_article(_phrase(scene.things[1], 1, rng, full))
        phrase = str(rng.choice(RELATIONS[scene.relation])) if full or rng.random() < 0.9 else "and"
        subject = f"{subject} {phrase} {second}"
    elif pose := str(rng.choice(POSES)):
        subject = f"{subject} {pose}"
    if full or rng.random() < 0.8:
        subject = f"{subject} {rng.choice(BACKGROUNDS[scene.background])}"
    return f"there is {subject}" if scene.count == 1 and rng.random() < 0.08 else subject


def _keywords(scene: Scene, rng: np.random.Generator, full: bool) -> str:
    parts = [_named(scene, rng, full, article=False)]
    if scene.relation:
        second = _phrase(scene.things[1], 1, rng, full)
        if full or rng.random() < 0.88:
            parts = [f"{parts[0]} {rng.choice(RELATIONS[scene.relation])} {second}"]
        else:
            parts.append(second)
    if full or rng.random() < 0.8:
        parts.append(str(rng.choice(BACKGROUND_KEYWORDS[scene.background])))
    return ", ".join(parts)


def _named(scene: Scene, rng: np.random.Generator, full: bool, article: bool = True) -> str:
    """Names the scene's first thing, with its number where there is more than one."""
    phrase = _phrase(scene.things[0], scene.count, rng, full)
    if scene.count > 1:
        return f"{rng.choice(COUNT_WORDS[scene.count])} {phrase}"
    return _with_article(phrase) if article else phrase


def _phrase(thing: Thing, count: int, rng: np.random.Generator, full: bool) -> str:
    noun = NOUNS[thing.noun]
    word = str(rng.choice(noun.rare)) if noun.rare and rng.random() < RARE_SHARE else noun.name
    size = str(rng.choice(SIZE_WORDS[thing.size])) if thing.size and rng.random() < 0.85 else ""
    colour = thing.colour if thing.colour and (full or rng.random() < 0.94) else ""
    return " ".join(part for part in (size, colour, plural(word) if count > 1 else word) if part)


def _with_article(phrase: str) -> str:
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def _style_tag(scene: Scene, rng: np.random.Generator, full: bool) -> list[str]:
    share = 1.0 if full else 0.2 if scene.style == "photo" else 0.9
    return [str(rng.choice(STYLES[scene.style]))] if rng.random() < share else []


def true_modifiers(scene: Scene) -> dict[str, float]:
    """Returns the modifiers that are true of the picture, each with the probability that a caption names it."""
    quality = scene.quality
    shares = {name: 0.5 for name in quality.defects}
    shares |= {"sharp": 0.5} if quality.detail > 0.4 else {}
    shares |= {"vibrant": 0.5} if quality.vibrance > 0.4 else {}
    shares |= {name: 0.6 for name in (quality.lighting, quality.palette, quality.weather) if name}
    shares |= {name: 0.6 for name, there in (("bokeh", quality.bokeh), ("framed", quality.framed)) if there}
    if scene.relation is None and scene.count == 1:
        shares |= {} if quality.cropped else {"centered": 0.18}
        shares |= {"large": {"closeup": 0.35}, "small": {"distant": 0.35}}.get(scene.things[0].size or "", {})
    if scene.background in DAYLIGHT and quality.lighting != "dark":
        shares["day"] = 0.08
    return shares


def _modifier_tags(scene: Scene, rng: np.random.Generator, crowded: bool) -> list[str]:
    """Returns tags for some of the true modifiers, mixed with placebo words, in random order."""
    quality = scene.quality
    tags = [
        str(rng.choice(MODIFIERS[name])) for name, share in true_modifiers(scene).items() if rng.random() < (0.95 if crowded else share)
    ]
    if not quality.defects and quality.goodness > 1 and (crowded or rng.random() < 0.5):
        tags += [str(word) for word in rng.permutation(MODIFIERS["best"])[: int(rng.integers(1, 3))]]
    elif len(quality.defects) >= 2 and (crowded or rng.random() < 0.45):
        tags += [str(rng.choice(MODIFIERS["poor"]))]
    if crowded:
        missing = max(1, CROWDED_TAGS + int(rng.integers(0, 4)) - len(tags))
        tags += [str(word) for word in rng.permutation(PLACEBO)[:missing]]
    elif rng.random() < 0.35:
        tags += [str(word) for word in rng.permutation(PLACEBO)[: int(rng.integers(1, 4))]]
    return [str(tag) for tag in rng.permutation(tags)] if tags else []


def _mistaken(scene: Scene, rng: np.random.Generator, nouns: int) -> Scene:
    """Returns the scene with one thing replaced by another of its group, or by any other noun where the group has no other."""
    which = int(rng.integers(len(scene.things))) if scene.relation else 0
    taken = {thing.noun for thing in scene.things}
    others = [noun for noun in range(nouns) if noun not in taken]
    kin = [noun for noun in others if NOUNS[noun].group == NOUNS[scene.things[which].noun].group]
    wrong = int(rng.choice(kin or others))
    return replace(scene, things=tuple(replace(thing, noun=wrong) if place == which else thing for place, thing in enumerate(scene.things)))
