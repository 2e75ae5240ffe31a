"""The things of the miniature's world: their names, rarer names, plurals and groups.

Every thing is an emoji sprite. `NOUNS` is ordered: a preset uses the first so many. Captions seldom use a thing's rarer names, so
the model knows them less well, as large models do with rare words. The things of one `group` are co-hyponyms: each contrasts with the
others.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Noun:
    """A thing that can be drawn: its usual `name`, its emoji, its `group` of co-hyponyms, and rarer names for it."""

    name: str
    emoji: str
    group: str
    rare: tuple[str, ...] = ()

    @property
    def countable(self) -> bool:
        """Whether the plural differs from the singular."""
        return self.name not in _UNCHANGED


def _nouns(group: str, entries: str) -> list[Noun]:
    """Parse entries such as 'cat 🐈 kitty|feline; dog 🐕' (underscores stand for blanks)."""
    parsed = []
    for entry in entries.split(";"):
        name, emoji, *rare = entry.split()
        forms = tuple(form.replace("_", " ") for form in rare[0].split("|")) if rare else ()
        parsed.append(Noun(name.replace("_", " "), emoji, group, forms))
    return parsed


# The first sixty: COCO's object names with a distinctive sprite, then other common subjects.
_FIRST = [
    *_nouns(
        "animals",
        """
        cat 🐈 kitty|feline; dog 🐕 puppy|hound; bird 🐦 songbird; horse 🐎 stallion|steed; sheep 🐑 lamb|ewe;
        cow 🐄 cattle|heifer; elephant 🐘 pachyderm; bear 🐻 grizzly; zebra 🦓 quagga; giraffe 🦒 camelopard
        """,
    ),
    *_nouns(
        "vehicles",
        """
        car 🚗 automobile|sedan; bus 🚌 coach; truck 🚚 lorry; train 🚂 locomotive; boat ⛵ sailboat|yacht;
        airplane ✈️ plane|aircraft; bicycle 🚲 bike|cycle; motorcycle 🏍️ motorbike
        """,
    ),
    *_nouns(
        "food",
        """
        apple 🍎 pippin; banana 🍌 plantain; pizza 🍕 margherita; donut 🍩 doughnut; cake 🍰 gateau; carrot 🥕; broccoli 🥦;
        sandwich 🥪 panini
        """,
    ),
    *_nouns("clothing", "umbrella ☂️ parasol"),
    *_nouns("furniture", "chair 🪑 seat; couch 🛋️ sofa|settee; bed 🛏️ cot; clock 🕰️ timepiece; vase 🏺 urn|amphora"),
    *_nouns("tools", "book 📕 novel; laptop 💻 notebook_computer"),
    *_nouns("toys", "teddy_bear 🧸 plush_toy"),
    *_nouns("tools", "scissors ✂️ shears"),
    *_nouns("clothing", "backpack 🎒 rucksack; suitcase 🧳 luggage"),
    *_nouns("buildings", "stop_sign 🛑; traffic_light 🚦 stoplight"),
    *_nouns("toys", "kite 🪁; skateboard 🛹 longboard"),
    *_nouns("plants", "flower 🌻 blossom|sunflower; tree 🌳 oak; mushroom 🍄 toadstool; cactus 🌵 succulent"),
    *_nouns("buildings", "house 🏠 cottage|home; castle 🏰 fortress|citadel"),
    *_nouns("fantasy", "rocket 🚀 spaceship; robot 🤖 android|automaton; ghost 👻 phantom|spectre"),
    *_nouns("clothing", "crown 👑 tiara"),
    *_nouns("animals", "fish 🐟 trout; frog 🐸 toad; butterfly 🦋 moth; penguin 🐧; turtle 🐢 tortoise; pig 🐖 hog|swine"),
    *_nouns("music", "guitar 🎸 ukulele"),
    *_nouns("toys", "balloon 🎈"),
]

_MORE = [
    *_nouns(
        "animals",
        """
        rabbit 🐇 bunny|hare; fox 🦊 vixen; lion 🦁; tiger 🐅; monkey 🐒 ape; owl 🦉; duck 🦆 mallard; chicken 🐔 hen; snake 🐍 serpent;
        whale 🐳; dolphin 🐬 porpoise; octopus 🐙 kraken; crab 🦀; snail 🐌 slug; bee 🐝 wasp; ladybug 🐞 beetle;
        camel 🐫 dromedary; kangaroo 🦘 wallaby; dragon 🐉 wyvern; mouse 🐁 rodent; spider 🕷️ tarantula; shark 🦈; parrot 🦜 macaw;
        crocodile 🐊 alligator; gorilla 🦍; squirrel 🐿️ chipmunk; bat 🦇; peacock 🦚; lobster 🦞 crayfish
        """,
    ),
    *_nouns(
        "vehicles",
        """
        helicopter 🚁 chopper; tractor 🚜; ship 🚢 vessel; ambulance 🚑; taxi 🚕 cab; scooter 🛵 moped; fire_engine 🚒; canoe 🛶 kayak
        """,
    ),
    *_nouns(
        "food",
        """
        tangerine 🍊 mandarin; hot_dog 🌭; burger 🍔 hamburger; bread 🍞 loaf; cheese 🧀 cheddar; egg 🥚; grapes 🍇; strawberry 🍓;
        cherry 🍒; lemon 🍋; watermelon 🍉; pear 🍐; pineapple 🍍; corn 🌽 maize; tomato 🍅; ice_cream 🍦 sundae;
        cookie 🍪 biscuit; avocado 🥑; peach 🍑 nectarine; pretzel 🥨
        """,
    ),
    *_nouns("kitchen", "wine_glass 🍷 goblet; cup ☕ mug; bottle 🍾 flask; bowl 🥣; spoon 🥄 ladle; knife 🔪 blade; fork 🍴"),
    *_nouns(
        "tools",
        """
        keyboard ⌨️; cell_phone 📱 telephone; tv 📺 television; toothbrush 🪥; camera 📷; telescope 🔭 spyglass; anchor ⚓; hammer 🔨 mallet;
        key 🔑; magnet 🧲; compass 🧭; axe 🪓 hatchet; pen 🖊️ ballpoint
        """,
    ),
    *_nouns("furniture", "toilet 🚽; lamp 💡 lightbulb; candle 🕯️; bell 🔔 chime; door 🚪"),
    *_nouns(
        "clothing",
        """
        handbag 👜 purse; tie 👔 shirt; hat 🎩; dress 👗 gown; boot 🥾 shoe; glasses 👓 spectacles; ring 💍; sock 🧦 stocking;
        coat 🧥 jacket
        """,
    ),
    *_nouns("toys", "sports_ball ⚽ football; frisbee 🥏; gift 🎁 present; heart ❤️; dice 🎲; trophy 🏆 prize_cup"),
    *_nouns("plants", "potted_plant 🪴 houseplant; palm_tree 🌴; rose 🌹; tulip 🌷; pine_tree 🌲 fir; maple_leaf 🍁"),
    *_nouns("buildings", "church ⛪ chapel; tent ⛺ marquee; lighthouse 🗼 tower; windmill 🎡 ferris_wheel; fountain ⛲"),
    *_nouns("fantasy", "unicorn 🦄; alien 👽 extraterrestrial; snowman ⛄; skull 💀; crystal_ball 🔮"),
    *_nouns("music", "drum 🥁; trumpet 🎺 cornet; violin 🎻 fiddle; piano 🎹; saxophone 🎷"),
]

NOUNS: tuple[Noun, ...] = (*_FIRST, *_MORE)

# Things whose natural sprite already has that colour: tinting it changes its pixels by less than `SAME_COLOUR` in CIE Lab on average.
SAME_COLOUR = 17.0
_OWN = {
    "white": "sheep, cow, laptop, ghost, rabbit, mouse, shark, cup, spoon, knife, fork, keyboard, telescope, toilet, ring, "
        "sports ball, dice, church, fountain, snowman, skull",
    "orange": "horse, chair, vase, canoe, egg, cookie, handbag",
    "black": "spider, gorilla, cell phone, hat",
    "brown": "bear, bat",
    "blue": "dress",
}  # fmt: skip
OWN_COLOURS: dict[str, str] = {name: colour for colour, names in _OWN.items() for name in names.split(", ")}

_UNCHANGED = frozenset({"scissors", "grapes", "glasses", "broccoli", "corn", "bread", "cheese", "ice cream", "sheep", "fish", "dice"})
_IRREGULAR = {
    "mouse": "mice", "knife": "knives", "loaf": "loaves", "maple leaf": "maple leaves", "fish": "fish", "trout": "trout", "sheep": "sheep",
    "cattle": "cattle", "luggage": "luggage", "cactus": "cacti", "octopus": "octopuses",
    "gateau": "gateaus", "snowman": "snowmen", "tomato": "tomatoes",
    "aircraft": "aircraft", "swine": "swine", "crayfish": "crayfish",
}  # fmt: skip


def plural(form: str) -> str:
    """Returns the plural of the noun `form`; names of pairs and masses stay as they are."""
    if form in _IRREGULAR:
        return _IRREGULAR[form]
    if form in _UNCHANGED or form in ("shears", "spectacles", "cattle", "maize"):
        return form
    if form.endswith("y") and form[-2] not in "aeiou":
        return f"{form[:-1]}ies"
    return f"{form}es" if form.endswith(("s", "x", "ch", "sh", "z")) else f"{form}s"


def groups(nouns: Iterable[Noun] = NOUNS) -> dict[str, tuple[str, ...]]:
    """Returns {group: usual names of its things}."""
    found: dict[str, list[str]] = {}
    for noun in nouns:
        found.setdefault(noun.group, []).append(noun.name)
    return {group: tuple(names) for group, names in found.items()}
