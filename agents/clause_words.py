"""The words by which the clauses of a prompt are told: what ends a noun phrase, colours, units, what is no name, what is no negation."""

from __future__ import annotations


def _words(*lines: str) -> frozenset[str]:
    return frozenset(word for line in lines for word in line.split())


EDGES = _words(
    "a an the this that these those of in on at by with without and or but to for from into onto over under near next beside",
    "behind between through across around along against above below inside outside during before after while as like than is are",
    "was were be being been has have had do does did can will his her its their my your our who which what where when whose it he",
    "she they there sits sit sitting stands stand standing runs running walks walking holds holding wears wearing looks looking",
    "plays playing eats eating flies flying rides riding made covered surrounded dressed filled painted drawn lit not no very so",
)
"""Words that end a noun phrase, most of them in any text."""

COLOURS = _words(
    "red blue green yellow orange purple pink brown black white grey gray golden silver turquoise teal cyan magenta crimson",
    "scarlet beige maroon navy lavender ivory indigo violet blonde blond",
)
"""Adjectives of colour."""

NO_COLOURED_THING = _words(
    "hour ratio retriever age light lights lighting background backgrounds tone tones theme color colour colors colours palette",
    "accents one ones",
)
"""What has no colour of its own: modifiers of the whole picture, and breeds. A background is kept by no rule, since its word is common."""

UNITS = _words(
    "mm cm m km px dpi fps k d s th st nd rd x pm am kg lb ft inch inches hours minutes seconds degrees percent days weeks months",
    "thirds quarters points stars parts colors colours tones bits pixels samples steps meters metres feet layers dimensions",
)
"""What a number may stand before without counting things of the picture."""

NO_NAMES = _words(
    "a an the his her its their my your our this that some many various several different famous unknown hand night day side step",
    "fire candlelight moonlight sunlight lamplight torchlight lake sea river itself himself herself themselves two three four",
    "someone moon artist artists artificial one me you him them us mistake default design all both each",
)
"""Words after "by" that are, or begin, no name."""

PARTICLES = _words(
    "da de del della der di du la le van von den af al el bin",
)
"""Words in lower case inside a name."""

NOTHING = _words(
    "one more longer matter doubt idea way need problem limit limits time less only just yet so too quite even much other all",
    "always really necessarily sure sign signs such charge end being single man nothing reason hope better exactly mercy fear",
    "regrets",
)
"""Words that begin no thing that is not wanted: "no one", "not only", "without end"."""

PLACES = _words(
    "visible underneath anywhere present allowed please showing shown included around whatsoever",
)
"""Words after what is not wanted that are no part of it."""

ENGLISH = _words(
    "a the of in on with and an at by from is are for to her his their as under through",
)
"""Words that an English sentence has."""

OFTEN_CAPITAL = _words(
    "art arts painting paintings oil digital concept studio details detail perfect space light lights lighting hands eyes face",
    "character battle design style portrait photo photograph photography fantasy anime sci-fi realistic illustration drawing",
    "sketch render engine beautiful summer winter spring autumn fall dark bright high highly low detailed cinematic epic image",
    "picture poster movie film scene view shot close-up background symmetry masterpiece watercolor watercolour colors colours",
    "color colour black white red blue green smooth female male man woman girl boy old young city forest night day cat dog car",
    "house tree king queen prince princess magic trending rendered octane unreal",
)
"""Words that people write with a capital without meaning a name."""
