"""The words of the miniature's world and what each of them means. No drawing and no training here.

Every noun is an emoji sprite. `NOUNS` is ordered: a recipe with little compute trains on the first so many. Rare surface forms
are used seldom in captions, so that they confuse the model a little, as rare words confuse large models.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Noun:
    """A thing that can be drawn: its usual `name`, its emoji, the co-hyponyms it belongs to, rarer names for it."""

    name: str
    emoji: str
    group: str
    rare: tuple[str, ...] = ()


def _nouns(group: str, entries: str) -> list[Noun]:
    """Parse entries such as 'cat 🐈 kitty|feline; dog 🐕' (underscores stand for blanks)."""
    parsed = []
    for entry in entries.split(";"):
        name, emoji, *rare = entry.split()
        forms = tuple(form.replace("_", " ") for form in rare[0].split("|")) if rare else ()
        parsed.append(Noun(name.replace("_", " "), emoji, group, forms))
    return parsed


# The first sixty: COCO's object names that have a distinctive sprite, then things that everybody draws.
_FIRST = [
    *_nouns(
        "animal",
        """
        cat 🐈 kitty|feline; dog 🐕 puppy|hound; bird 🐦 songbird; horse 🐎 stallion|steed; sheep 🐑 lamb|ewe;
        cow 🐄 cattle|heifer; elephant 🐘 pachyderm; bear 🐻 grizzly; zebra 🦓; giraffe 🦒
        """,
    ),
    *_nouns(
        "vehicle",
        """
        car 🚗 automobile|sedan; bus 🚌 coach; truck 🚚 lorry; train 🚂 locomotive; boat ⛵ sailboat|yacht;
        airplane ✈️ plane|aircraft; bicycle 🚲 bike|cycle; motorcycle 🏍️ motorbike
        """,
    ),
    *_nouns("food", "apple 🍎; banana 🍌; pizza 🍕; donut 🍩 doughnut; cake 🍰; carrot 🥕; broccoli 🥦; sandwich 🥪"),
    *_nouns(
        "object",
        """
        umbrella ☂️ parasol; chair 🪑 seat; couch 🛋️ sofa; bed 🛏️; clock 🕰️; vase 🏺 urn; book 📕 novel;
        laptop 💻 notebook_computer; teddy_bear 🧸 plush_toy; scissors ✂️ shears; backpack 🎒 rucksack;
        suitcase 🧳 luggage; stop_sign 🛑; traffic_light 🚦 stoplight; kite 🪁; skateboard 🛹
        """,
    ),
    *_nouns("plant", "flower 🌻 blossom|sunflower; tree 🌳 oak; mushroom 🍄 toadstool; cactus 🌵"),
    *_nouns("building", "house 🏠 cottage|home; castle 🏰 fortress"),
    *_nouns("fantasy", "rocket 🚀 spaceship; robot 🤖 android; ghost 👻 phantom; crown 👑"),
    *_nouns("animal", "fish 🐟; frog 🐸 toad; butterfly 🦋; penguin 🐧; turtle 🐢 tortoise; pig 🐖 hog"),
    *_nouns("music", "guitar 🎸"),
    *_nouns("object", "balloon 🎈"),
]

_MORE = [
    *_nouns(
        "animal",
        """
        rabbit 🐇 bunny; fox 🦊; lion 🦁; tiger 🐅; monkey 🐒 ape; owl 🦉; duck 🦆; chicken 🐔 hen; snake 🐍 serpent; whale 🐳;
        dolphin 🐬; octopus 🐙; crab 🦀; snail 🐌; bee 🐝; ladybug 🐞 beetle; camel 🐫; kangaroo 🦘; dragon 🐉; mouse 🐁
        """,
    ),
    *_nouns("vehicle", "helicopter 🚁 chopper; tractor 🚜; ship 🚢 vessel; ambulance 🚑; taxi 🚕 cab; scooter 🛵"),
    *_nouns(
        "food",
        """
        orange 🍊 tangerine; hot_dog 🌭; burger 🍔 hamburger; bread 🍞 loaf; cheese 🧀; egg 🥚; grapes 🍇; strawberry 🍓;
        cherry 🍒; lemon 🍋; watermelon 🍉; pear 🍐; pineapple 🍍; corn 🌽 maize; tomato 🍅; ice_cream 🍦 sundae;
        cookie 🍪 biscuit
        """,
    ),
    *_nouns(
        "object",
        """
        wine_glass 🍷 goblet; cup ☕ mug; bottle 🍾; bowl 🥣; spoon 🥄; knife 🔪 blade; fork 🍴; keyboard ⌨️;
        cell_phone 📱 telephone; tv 📺 television; toilet 🚽; toothbrush 🪥; handbag 👜 purse; tie 👔 shirt;
        sports_ball ⚽ football; frisbee 🥏; lamp 💡 lightbulb; key 🔑; candle 🕯️; gift 🎁 present; camera 📷; bell 🔔;
        telescope 🔭; anchor ⚓; hammer 🔨; hat 🎩; dress 👗 gown; boot 🥾 shoe; glasses 👓 spectacles; ring 💍; heart ❤️;
        potted_plant 🪴 houseplant
        """,
    ),
    *_nouns("plant", "palm_tree 🌴; rose 🌹; tulip 🌷; pine_tree 🌲 fir"),
    *_nouns("building", "church ⛪ chapel; tent ⛺; lighthouse 🗼 tower; windmill 🎡 ferris_wheel"),
    *_nouns("fantasy", "unicorn 🦄; alien 👽 extraterrestrial; snowman ⛄"),
    *_nouns("music", "drum 🥁; trumpet 🎺; violin 🎻 fiddle; piano 🎹"),
]

NOUNS: tuple[Noun, ...] = (*_FIRST, *_MORE)

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (222, 38, 40), "yellow": (248, 208, 40), "green": (48, 168, 64), "blue": (44, 92, 222),
    "purple": (138, 56, 188), "pink": (248, 132, 182), "white": (244, 244, 246), "black": (46, 44, 52),
}  # fmt: skip

SIZES: tuple[str, ...] = ("small", "large")
SIZE_WORDS = {"small": ("small", "tiny", "little"), "large": ("large", "big", "huge")}

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
}
BACKGROUND_KEYWORDS = {
    "meadow": ("meadow", "grassy field"), "beach": ("beach", "seaside"), "desert": ("desert", "dunes"), "snow": ("snow", "snowy field"),
    "night": ("night", "night sky"), "city": ("city", "street"), "room": ("room", "indoors"), "sunset": ("sunset", "dusk"),
}  # fmt: skip

STYLES: dict[str, tuple[str, ...]] = {
    "photo": ("photo", "photograph", "photo"),
    "watercolor": ("watercolor", "watercolor painting"),
    "pencil": ("pencil sketch", "pencil drawing"),
    "pixel": ("pixel art", "8-bit pixel art"),
    "neon": ("neon", "glowing neon"),
    "comic": ("comic", "comic book style"),
}

# What modifier words say about a picture. `best` and `poor` speak of every quality at once, as people's tags do.
MODIFIERS: dict[str, tuple[str, ...]] = {
    "sharp": ("sharp focus", "highly detailed", "intricate details"),
    "blurry": ("blurry", "out of focus"),
    "vibrant": ("vibrant colors", "vivid colors", "rich colors"),
    "dull": ("dull colors", "faded", "washed out"),
    "overexposed": ("overexposed", "too bright"),
    "blocky": ("jpeg artifacts", "blocky"),
    "cropped": ("cropped", "out of frame"),
    "centered": ("centered", "well composed"),
    "cinematic": ("cinematic lighting", "dramatic lighting"),
    "golden": ("golden hour", "warm light"),
    "best": ("masterpiece", "best quality"),
    "poor": ("low quality", "worst quality"),
}
GOOD = ("sharp", "vibrant", "centered", "cinematic", "golden", "best")
HARMFUL = ("blurry", "dull", "overexposed", "blocky", "cropped", "poor")

PLACEBO: tuple[str, ...] = (
    "trending on artstation", "8k", "award winning", "unreal engine", "octane render", "concept art", "by a famous artist", "4k wallpaper",
    "professional", "stunning", "elegant", "high resolution",
)  # fmt: skip

DEFECTS: tuple[str, ...] = ("blurry", "dull", "overexposed", "blocky", "cropped")
