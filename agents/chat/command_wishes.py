"""Rules about the picture's content: what stays, what goes, what changes, its style, and a new picture. Tried after command_rules.py.

The order matters: clauses about pinned and banned words are not changes, and only what no other rule matches is a description.
"""

from __future__ import annotations

import re

from limner.agents.chat.actions import Action, Situation
from limner.agents.chat.command_changes import change_of
from limner.agents.chat.command_words import described, rule_book, words
from limner.agents.chat.edits import bare
from limner.promptdb.search.modifier_kinds import kind_of

RULES, rule = rule_book()


@rule(
    r"keep\s+(?P<keep>.+?)(?:\s*,\s*(?:and |but )?|\s+(?:and|but)\s+)(?P<rest>(?:change|make|turn|replace|swap|give"
    r"|put|move|paint|add|remove|drop)\b.+)"
)
def keep_change(match: re.Match[str], situation: Situation) -> Action | None:
    """Reads a change with words to keep: "keep the cat and make the car red"."""
    action = change_of(match["rest"])
    kept = [] if _is_all(match["keep"]) else words(match["keep"])
    return action.model_copy(update={"words": kept}) if action is not None and action.kind == "change" else None


@rule(r"(?P<all>.+?)\s*,?\s*(?:and|but)?\s*keep\s+(?:the\s+)?(?P<keep>(?!going).+)")
def change_keep(match: re.Match[str], situation: Situation) -> Action | None:
    """Reads a change with words to keep at the end: "make it blue but keep the hat"."""
    action = change_of(match["all"].strip(" ,"))
    kept = [] if _is_all(match["keep"]) else words(re.sub(r"\s+(?:as (?:it|they) (?:is|are)|the same|unchanged)$", "", match["keep"]))
    return action.model_copy(update={"words": kept}) if action is not None and action.kind == "change" else None


def _is_all(text: str) -> bool:
    return bool(
        re.fullmatch(
            r"(?:everything|all|the rest|it|this|that|the same|the other things)(?: else)?(?: as it is| the same)?", text.strip(), re.I
        )
    )


@rule(
    r"(?:unpin|un-?lock|release|stop pinning|(?:you (?:can|may) )(?:drop|lose|change)|no need (?:to keep|for)"
    r"|don'?t need to keep)\s+(?P<w>.+)|(?P<v>.+?)\s+(?:may|can) (?:go|be dropped|change)(?: now)?"
)
def unpin(match: re.Match[str], situation: Situation) -> Action | None:
    """Reads that words need not stay any more."""
    return Action(kind="unpin", words=words(match["w"] or match["v"]))


@rule(
    r"(?:the\s+|my\s+|use\s+(?:the\s+)?|keep\s+(?:the\s+)?|add\s+(?:the\s+)?)?(?:lora\s+"
    r"|embedding\s+)?trigger(?:\s*(?:word|token|phrase)s?)?\s*(?:is|are|:|=)?\s+(?P<w>.+)"
)
def trigger(match: re.Match[str], situation: Situation) -> Action | None:
    """Reads the trigger words of a LoRA or embedding."""
    quoted = re.findall(r"[\"“']([^\"“”']{1,120})[\"”']", match["w"])
    return Action(kind="trigger", words=quoted or [match["w"].strip(" .!")])


@rule(
    r"(?:make sure|ensure|be sure)(?: that)?\s+(?:there (?:is|are)|(?:i|you|we) can (?:always )?see|(?:it|the picture"
    r"|the image) (?:always )?shows)\s+(?P<w>.+)|(?:(?:make sure|ensure|be sure)(?: that)? )?(?P<v>.+?)\s+"
    r"(?:(?:must|should|has to|have to|needs to)\s+(?:always\s+)?(?:be|stay|remain)|is|are|stays?|remains?)\s+(?:visible"
    r"|seen|in (?:the )?(?:picture|image|view|frame)"
    r"|recogni[sz]able)|"
    r"(?:it|the (?:picture|image)) (?:must|has to|should|needs to) (?:always )?(?:show|have|contain)\s+(?P<u>.+)|trait[: ]\s*(?P<t>.+)"
)
def trait(match: re.Match[str], situation: Situation) -> Action | None:
    """Reads what must stay visible in the picture."""
    return Action(kind="trait", words=words(next(part for part in (match["w"], match["v"], match["u"], match["t"]) if part)))


@rule(
    r"the\s+(?P<x>[\w -]+?)\s+(?:must|should|has to|have to|needs to)\s+(?:always\s+)?"
    r"(?:stay|remain|be kept)\s+(?P<y>(?!in\b|there\b)[\w-]+)"
)
def stays_as_it_is(match: re.Match[str], situation: Situation) -> Action | None:
    """Reads "the car must stay red": a pin where the request says so already, else a change to it."""
    kept = f"{match['y']} {match['x']}"
    if re.search(rf"\b{re.escape(kept)}\b", situation.request, re.IGNORECASE):
        return Action(kind="pin", words=[kept])
    return change_of(f"make the {match['x']} {match['y']}") if situation.request else None


_QUOTED_WORDS = r"(?:the )?(?:words?|phrases?|terms?)\s+"


@rule(
    r"(?:pin|lock|hold on to|preserve|always (?:keep|use|include|have|write))\s+(?P<w>.+)|(?:don'?t|do not"
    r"|never)\s+(?:lose|drop|touch|remove|forget|leave out|change|alter|omit)\s+(?:the )?(?P<v>.+)"
    r"|(?P<u>.+?)\s+(?:must|should|has to|have to|needs to)\s+(?:always\s+)?(?:stay|remain|be kept|be in (?:there"
    r"|the prompt|it))(?:\s+in(?: the prompt| it)?)?|"
    r"(?:make sure|ensure)(?: that)?\s+(?P<t>.+?)\s+(?:stays?|remains?|is kept|is always in|does(?: not|n'?t) get lost"
    rf"|isn'?t lost)(?:\s+in(?: the prompt| it)?)?|keep\s+{_QUOTED_WORDS}(?P<s>.+)|keep\s+(?P<r>(?!going|on|trying|it\b"
    r"|this\b|that\b).+)"
)
def pin(match: re.Match[str], situation: Situation) -> Action | None:
    """Reads words that must stay in the prompt."""
    said = next(part for part in (match["w"], match["v"], match["u"], match["t"], match["s"], match["r"]) if part)
    found = words(
        re.sub(r"\s+(?:in (?:the prompt|there|it)|as (?:it is|is|they are)|in every (?:prompt|image|picture))$", "", said, flags=re.I)
    )
    if not found or _is_all(said) or any(re.fullmatch(r"(?:it|this|that|one|\d+)", word, re.I) for word in found):
        return None
    return Action(kind="pin", words=found)


@rule(
    r"(?:allow|unban|permit|lift the ban on|stop banning|(?:you|we) (?:may|can) (?:use|say|write))\s+(?P<w>.+?)(?:\s+(?:again|now))*"
    r"|(?P<v>.+?)\s+(?:is|are)\s+(?:fine|ok|okay|allowed)\s+(?:again|now)"
)
def allow(match: re.Match[str], situation: Situation) -> Action | None:
    """Reads that banned words are allowed again."""
    return Action(kind="allow", words=words(match["w"] or match["v"]))


@rule(
    r"(?:ban|forbid|blacklist|prohibit|block|avoid|exclude)\s+(?:using\s+|saying\s+)?(?P<w>.+)|(?:never|don'?t|do not"
    r"|stop|quit)\s+(?:ever\s+)?(?:use|using|say|saying|write|writing|put|putting|mention|mentioning|include|including"
    r"|add|adding)\s+(?P<v>.+?)(?:\s+(?:again|any ?more|in (?:it|the prompt|there)))*|no more\s+(?P<u>.+)"
    rf"|without\s+{_QUOTED_WORDS}(?P<t>.+)|(?:i (?:hate|(?:don'?t|never) (?:want|like)(?: to see)?))\s+{_QUOTED_WORDS}(?P<s>.+)"
)
def ban(match: re.Match[str], situation: Situation) -> Action | None:
    """Reads words that must not occur in the prompt."""
    said = next(part for part in (match["w"], match["v"], match["u"], match["t"], match["s"]) if part)
    return Action(kind="ban", words=words(re.sub(r"(?:\s+(?:again|any ?more|ever))+$", "", said, flags=re.I)))


_STYLE_NOUN = r"(?:style|look|medium|technique|aesthetic)"


@rule(
    rf"(?:(?:switch|change|set)(?: (?:the|its))?\s+{_STYLE_NOUN}\s+(?:to|into)\s+|{_STYLE_NOUN}\s*[:=]\s*|(?:draw|paint"
    r"|render|make|do|show|redo|try|give)\s+(?:it |this |that |me |the (?:picture|image) )*(?:in|with|as"
    rf"|like)\s+)?(?:in\s+)?(?:an?\s+|the\s+)?{_STYLE_NOUN}\s+of\s+(?:an?\s+)?(?P<a>.+)|"
    rf"(?:switch|change|set)(?: (?:the|its))?\s+{_STYLE_NOUN}\s+(?:to|into)\s+(?P<b>.+)|{_STYLE_NOUN}\s*[:=]?\s+(?P<c>(?!of\b).+)|"
    r"(?:(?:draw|paint|render|make|do|show|redo|try|give|use|switch to|go for|i want|i'd like|with)\s+)?(?:it |this "
    r"|that |me |the (?:picture|image) )*(?:in|with|as|like)?\s*(?:an?\s+"
    rf"|the\s+)?(?P<d>[\w -]+?)\s+{_STYLE_NOUN}(?:\s+instead)?"
)
def style(match: re.Match[str], situation: Situation) -> Action | None:
    """Reads a style named as such: "in the style of ...", "watercolor style"."""
    said = next(part for part in (match["a"], match["b"], match["c"], match["d"]) if part)
    return Action(kind="style", text=bare(re.sub(rf"\s+{_STYLE_NOUN}$|\s+instead$", "", said, flags=re.I))) if situation.request else None


@rule(
    r"(?:switch|change|turn|convert|make|draw|paint|render|redo|do|show|try|give|i'd (?:prefer|like)|i (?:prefer|want"
    r"|would like|would prefer))"
    r"(?:\s+(?:it|this|that|me|everything|the (?:picture|image)))*\s+(?:(?:to|into|in|as|like|look like|be)\s+)?(?:an?\s+|the\s+)?"
    r"(?P<s>.+?)(?:\s+instead)?|as\s+(?:an?\s+)(?P<t>.+?)(?:\s+instead)?|in\s+(?P<u>.+?)(?:\s+instead)?|an?\s+(?P<v>.+?)(?:\s+instead)?"
)
def style_word(match: re.Match[str], situation: Situation) -> Action | None:
    """Reads a style without the word, where it is a known medium, style or artist: "as a watercolor"."""
    said = bare(match["s"] or match["t"] or match["u"] or match["v"])
    if not situation.request or len(said.split()) > 4 or kind_of(said.lower()) not in ("medium", "style", "artist"):
        return None
    return Action(kind="style", text=said)


@rule(
    r"(?:draw|paint|render|make|do|show|sketch)\s+(?:it|this|that)\s+(?:like|the way|as if by)\s+"
    r"(?P<s>(?!the\b|it\b|this\b|that\b|an?\b|#?\d)[\w .-]{3,40}?)"
    r"(?:\s+(?:would|did|does|do)(?: it)?)?"
)
def manner_of(match: re.Match[str], situation: Situation) -> Action | None:
    """Reads a wish for an artist's manner: "paint it like Monet would"."""
    return Action(kind="style", text=f"in the style of {match['s']}") if situation.request else None


@rule(
    r"(?:remove|delete|erase|take (?:out|away)|get rid of|lose|drop|leave out|i don'?t (?:want|like|need)(?: to see)?"
    r"|there should(?: not|n'?t) be|there should be no)\s+(?:any\s+)?(?P<w>.+?)(?:\s+(?:from (?:it|the (?:picture"
    r"|image|scene|prompt))|in (?:it|there)))?|(?:take|leave|cut)\s+(?P<u>(?!it\b|this\b|that\b).+?)\s+(?:away|out)"
    r"|(?:with)?(?:out|no)\s+(?:any\s+)?(?P<v>(?!more\b|less\b|idea\b).+)"
)
def remove(match: re.Match[str], situation: Situation) -> Action | None:
    """Reads what should go from the picture."""
    said = words(match["w"] or match["u"] or match["v"])
    if not situation.request or not said or said[0].lower() in ("it", "this", "that", "everything", "all"):
        return None
    return Action(kind="remove", words=said)


@rule(r".+")
def change(match: re.Match[str], situation: Situation) -> Action | None:
    """Reads any other change of the picture."""
    return change_of(match.group()) if situation.request else None


@rule(
    r"(?:draw|paint|sketch|render|generate|create|make|show|give)(?: me)?\s+(?P<w>(?!it\b|this\b|that\b|sure\b).+)|(?:i want"
    r"|i'd like|i would like|i need|can i (?:have|get)|let'?s (?:draw|have|do|see|make))(?: to (?:see|have"
    r"|draw))?\s+(?P<v>(?!to\b).+)|"
    r"(?:new(?: (?:picture|image|request|prompt))?|start over|instead|something (?:\w+ )?(?:else|different|new)"
    r"|next)\s*(?:with|:|,|draw)?\s+(?P<u>.+)"
)
def describe(match: re.Match[str], situation: Situation) -> Action | None:
    """Reads a request for a new picture."""
    said = next(part for part in (match["w"], match["v"], match["u"]) if part)
    if situation.request and re.match(r"make\s+the\b", match.group(), re.I):
        return None  # an unknown change, not a new request
    return described(re.sub(r"^(?:(?:draw|paint|make|show|give|create)(?: me)?)\s+", "", said, flags=re.I))


@rule(
    r"(?P<w>(?:an?|two|three|four|five|some|several|the)\s+(?!bit\b|little\b|lot\b|tad\b)\w+(?:\s+\S+){1,}|\w+\s+(?:in"
    r"|on|at|under|with|near|of)\s+(?:an?|the)\s+.+)"
)
def plain_description(match: re.Match[str], situation: Situation) -> Action | None:
    """Reads a bare description as a request for a new picture.

    Sentences about the current picture are not matched, so that the person is asked: a description would replace the whole request.
    """
    if situation.request and re.search(r"\b(?:is|are|isn'?t|aren'?t|looks?|should|must|could|too)\b", match["w"], re.IGNORECASE):
        return None
    return described(match["w"])
