"""The cases: what is typed on the command line, one command after the other in one empty folder.

`{run}` stands for the run that the last command's document names, `{image}` for the first picture of a document that named any. A case that
is not `slow` is one of the few that together end within a minute on one core.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

SMALL = ("--steps", "8", "--heldout-seeds", "3", "--variants", "3")

PROMPTS = """\
a red car on a beach
two cats in the snow
a castle at night
a blue bird above a green tree
a small dog on a street, watercolor
three apples on a table
a boat in a storm
a yellow flower in a forest
a big fish underwater
a house on a hill, ink
a horse in a desert
a clock left of a guitar
"""

WEIGHTED = (
    "a cat in the snow, [sharp focus:0-0.5:1.25], [by an engraver:0.5-1:0.75]",
    "a (red:1.3) car [at night:0.5]",
    "((a castle)), [watercolor], a [cat:dog:0.25] in the snow",
    "a plain prompt, nothing else",
    "a (red cat)1.3 in the snow++, [naïve ✓:1/3-1:2]",
)

TARGETS = ("a1111", "comfyui", "compel", "df")


@dataclass(frozen=True)
class Command:
    """`argv` follows `python main.py`; `stdin` is typed into it."""

    argv: tuple[str, ...]
    stdin: str = ""


@dataclass(frozen=True)
class Case:
    """`files`, by name, lie in the folder before the first command."""

    id: str
    commands: tuple[Command, ...]
    files: Mapping[str, str] = field(default_factory=dict)
    slow: bool = False


def _drawing(*argv: str, stdin: str = "") -> Command:
    """A command with runs of its own, in the folder's `out`."""
    return Command((*argv, "--out", "out"), stdin)


def _refining(*argv: str) -> Command:
    return _drawing(*argv, *SMALL, "--json")


SHOWN = (
    _drawing("runs", "list", "--json"),
    _drawing("runs", "show", "{run}", "--json"),
    _drawing("refine", "--resume", "{run}", "--json"),
    *(_drawing("runs", "export", "{run}", "--to", form) for form in ("preset-json", "comfyui", "a1111")),
)

CONVERTED = (
    *(Command(("convert", text, "--to", name, "--json")) for text in WEIGHTED for name in TARGETS),
    *(Command(("convert", WEIGHTED[0], "--to", name, "--steps", "20", "--negative", "[blurry:0.5-1:1]", "--json")) for name in TARGETS),
    Command(("convert", "party ] static [ shape", "--to", "df", "--lenient", "--json")),
    Command(("convert", "a (red cat:1.3) in the snow", "--from", "a1111", "--to", "compel", "--json")),
    Command(("convert", WEIGHTED[0], "--to", "a1111", "--steps", "20")),
    Command(("convert", "a [cat:0.5", "--to", "df", "--from", "df", "--json")),
)

SEARCHED = (
    _drawing("db", "search", "watercolor castle", "--limit", "4", "--json"),
    _drawing("db", "search", "a dog in the snow, vivid colors", "--limit", "4", "--by", "likeness", "--json"),
    _drawing("db", "search", "car", "--limit", "4", "--by", "words", "--source", "miniature", "--diverse", "--max-words", "12", "--json"),
    _drawing("db", "search", "cat", "--limit", "3", "--contains", "snow", "--excludes", "blurry"),
    _drawing("db", "modifiers", "--limit", "8", "--json"),
    _drawing("db", "modifiers", "car", "--limit", "8", "--json"),
    _drawing("db", "import", "mine.txt", "--json"),
    _drawing("db", "search", "zebra", "--source", "mine", "--json"),
    _drawing("db", "dedupe", "--dry-run", "--json"),
    _drawing("db", "stats", "--json"),
    _drawing("db", "check", "--json"),
)

REFUSED = (
    _drawing("refine", " ", "--json"),
    _drawing("refine", "a cat", "--budget", "5", "--json"),
    _drawing("refine", "a cat", "--method", "magic", "--json"),
    _drawing("refine", "a [cat|dog]", "--json"),
    _drawing("generate", "a cat", "--count", "9", "--budget", "8", "--json"),
    _drawing("optimize", "none.txt", "--json"),
    _drawing("runs", "show", "none", "--json"),
    Command(("score", "none.png", "a cat", "--json")),
)

SAID = """\
a red car on a beach
make it a watercolor
pin red car
more like 2
no people
undo
compare
left
accept
status
/history
/quit
"""

SAID_AT_LENGTH = """\
two cats in the snow
what can you do?
optimize it with 24 images
find prompts about a castle
keep the cats, change the background to a forest
ban neon
go back to turn 1
in watercolor style
run dpo-diff with 16 images
the second one is perfect
show me the prompt
/quit
"""

GENERATED = _drawing("generate", "a cat in the snow", "a castle, [watercolor:0-0.5:1.4]", "--seed", "5", "--steps", "8", "--json")


def _learning(*argv: str) -> Command:
    few = ("--iterations", "2", "--batch-size", "2", "--heldout-seeds", "2", "--steps", "6")
    return _drawing("optimize", "prompts.txt", *few, *argv, "--json")


QUICK = (
    Case("refine-rewrite", (_refining("refine", "a red car on a beach", "--method", "rewrite", "--budget", "18"), *SHOWN)),
    Case("refine-auto", (_refining("refine", "two cats in the snow", "--budget", "24"),)),
    Case("generate", (GENERATED, Command(("score", "{image}", "a cat in the snow", "--json")))),
    Case("chat", (_drawing("chat", "--thread", "kept", "--steps", "8", "--heldout-seeds", "3", "--budget", "80", stdin=SAID),)),
    Case("convert", CONVERTED),
    Case("db", SEARCHED, files={"mine.txt": "a zebra on a bicycle\n\na zebra on a bicycle\nA cat!\na cat\n"}),
    Case("refused", REFUSED),
)

SLOW = (
    Case("refine-df-prompt", (_refining("refine", "a big red cat on a table", "--method", "df-prompt", "--budget", "30"),)),
    Case("attack", (_refining("attack", "a small dog on a street", "--budget", "16", "--search", "evolution"),)),
    Case("refine-dpo-diff", (_refining("refine", "a castle at night, watercolor", "--method", "dpo-diff", "--budget", "20"), *SHOWN[3:])),
    *(
        Case(f"refine-dpo-diff-{search}", (_refining("refine", "a big red cat", "--method", "dpo-diff", "--budget", "16", *more),))
        for search, more in (
            ("hybrid", ("--search", "hybrid", "--space", "antonym")),
            ("gradient", ("--search", "gradient", "--space", "synonym")),
            ("random", ("--search", "random", "--space", "antonym+library")),
        )
    ),
    Case(
        "refine-contract",
        (
            _refining("refine", "a castle at night, watercolor", "--method", "auto", "--budget", "40", "--pin", "castle", "--ban", "neon"),
            _refining("refine", "a castle with a cat", "--method", "rewrite", "--budget", "18", "--trait", "cat", "--trigger", "castle"),
        ),
    ),
    Case(
        "refine-settings",
        (
            _refining(
                "refine", "a small dog on a street", "--method", "rewrite", "--budget", "24", "--scorer", "alignment", "--seed", "11"
            ),
            _refining("refine", "a small dog on a street", "--budget", "24", "--guidance-scale", "1", "--search-seeds", "3"),
        ),
    ),
    Case("refine-crowded", (_refining("refine", "a blue bird above a tree, ink, sharp focus", "--method", "df-prompt", "--budget", "60"),)),
    Case(
        "generate-settings",
        (
            _drawing("generate", "a dog", "--negative", "[blurry:0-0.5:1]", "--count", "2", "--seed", "3", "--json"),
            _drawing("generate", "a dog, [ink:0.5-1:1.5]", "--weights", "lerp_from_empty", "--ranges", "sigma", "--json"),
            _drawing("generate", "party ] static [ shape", "--lenient", "--schedule", "--steps", "8", "--guidance-scale", "1"),
            _drawing("generate", "--from", "{image}", "--json"),
        ),
    ),
    Case(
        "optimize",
        (
            _learning("--limit", "10", "--budget", "160"),
            _drawing("runs", "show", "{run}", "--json"),
            *(_drawing("runs", "export", "{run}", "--to", form) for form in ("preset-json", "comfyui", "a1111", "system-prompt")),
        ),
        files={"prompts.txt": PROMPTS},
    ),
    *(
        Case(f"optimize-{name}", (_learning("--limit", "8", "--budget", "140", *more),), files={"prompts.txt": PROMPTS})
        for name, more in (
            ("maai", ("--compat", "maai")),
            ("alone", ("--no-professional", "--selector", "greedy", "--instruction", "Say it in a few vivid words.")),
        )
    ),
    Case("chat-at-length", (_drawing("chat", "--thread", "kept", "--steps", "8", "--budget", "160", stdin=SAID_AT_LENGTH),)),
)

CASES = (*QUICK, *(replace(case, slow=True) for case in SLOW))
