"""Rules about pictures and the work on them, in the order in which they are tried: a pattern for a clause, and its action.

A rule returns None where the situation rules it out. Rules about the picture's content are in command_wishes.py.
"""

from __future__ import annotations

import re

from limner.agents.chat.actions import Action, Situation
from limner.agents.chat.command_words import COUNT, METHODS, NUMBERS, OTHER, WHICH, method, number, rule_book

RULES, rule = rule_book()


@rule(
    r"(?:i (?:prefer|like|choose|pick|vote for)\s+)?(?:the\s+)?(?P<side>a|b|left|right|first|second|1|2|neither|both"
    r"|tie|draw|equal|same|none)"
    r"(?:\s+(?:one|image|picture|side))?(?:\s+(?:is|looks)\s+(?:\w+\s+)?(?:better|nicer|best|good|the same"
    r"|equal))?(?:\s+(?:more|best|better))?"
)
def vote(match: re.Match[str], situation: Situation) -> Action | None:
    """Reads a vote while two pictures are compared: "left", "b is better", "neither"."""
    if not situation.comparing:
        return None
    side = match["side"].lower()
    choice = "left" if side in ("a", "left", "first", "1") else "right" if side in ("b", "right", "second", "2") else "tie"
    return Action(kind="vote", choice=choice)  # type: ignore[arg-type]


@rule(
    r"(?:they(?:'re| are)|both(?: are)?|it'?s a|i see|there is|i have)?\s*(?:about )?(?:equal|the same|tie"
    r"|no difference|no preference|can'?t (?:tell|decide)|equally good)(?: to me)?"
)
def tied(match: re.Match[str], situation: Situation) -> Action | None:
    """Reads a tied vote while two pictures are compared: "no difference"."""
    return Action(kind="vote", choice="tie") if situation.comparing else None


@rule(r"help(?: me)?|commands|\?|what can (?:you|i) (?:do|say|ask)(?: here)?|how does (?:this|it) work|how do i .*")
def help_(match: re.Match[str], situation: Situation) -> Action | None:
    """Reads a request for help."""
    return Action(kind="help")


@rule(
    r"(?:(?:show|tell|give)(?: me)? |what(?:'s| is| was) |which (?:is |was )?)?(?:the )?(?:final |current |last |best )?prompts?"
    r"(?: (?:is|was) (?:used|it|that)| did you use)?|what (?:did|have) you (?:change|do|draw|use)d?|"
    r"status|history|(?:show|tell)(?: me)? (?:the )?(?:status|history|settings|contract|scores|budget|costs?)"
    r"|where are we|what have (?:i|we|you) (?:spent|done)(?: so far)?|"
    r"how (?:much|many)(?: \w+)* (?:left|spent|used|remains?)|what(?:'s| is) (?:left|pinned|banned"
    r"|the (?:current )?(?:prompt|budget|status))(?: of the budget)?|(?:the )?(?:costs?|scores)"
)
def status(match: re.Match[str], situation: Situation) -> Action | None:
    """Reads a question about the prompt, the budget, the costs or the history."""
    return Action(kind="status")


@rule(
    r"(?:undo|revert|roll(?: it)? back|step back|go back|(?:go|take|jump|move)(?=\s+\w+\s+(?:steps?|turns?)\s+back)"
    r"|back|return|restore|take (?:that|it) back|scrap that"
    r"|forget (?:that|the last (?:one|change))|i (?:liked?|prefer(?:red)?) (?:it )?(?:better )?(?:how it was"
    r"|what we had|before)(?: it)?|(?:the )?previous(?: one| version)?|un-?do)"
    r"(?:[\s,]+(?P<rest>.*))?"
)
def undo(match: re.Match[str], situation: Situation) -> Action | None:
    """Reads a wish to go back: by a number of turns, to a numbered turn, or to the beginning."""
    rest = (match["rest"] or "").lower()
    if re.search(r"\b(?:like|colou?r|background)\b", rest):
        return None
    if turn := re.search(r"\b(?:turn|round|step)\s*(?:#|number|no\.?)?\s*(\d+)", rest):
        return Action(kind="undo", turn=int(turn[1]))
    if rest.startswith("to ") and (turn := re.search(r"^to (?:the )?(?:#)?(\d+)", rest)):
        return Action(kind="undo", turn=int(turn[1]))
    if re.search(r"\b(?:beginning|start|very first)\b", rest):
        return Action(kind="undo", turn=1)
    steps = re.search(rf"\b(\d+|{'|'.join(NUMBERS)})\b\s*(?:turns?|steps?|times|changes?|rounds?)?", rest)
    if steps:
        return Action(kind="undo", steps=int(steps[1]) if steps[1].isdigit() else NUMBERS.index(steps[1]) + 1)
    if rest and not re.search(r"\b(?:that|it|this|last|previous|before|change|step|turn|one|earlier|please|the)\b", rest):
        return None
    return Action(kind="undo", steps=2 if "before the last" in rest or "twice" in rest else 1)


_IT = r"(?:it|this|that|this one|that one|here|with (?:it|this|that))"


@rule(
    rf"(?:i(?:'ll| will)?\s+)?accept(?:ed)?(?:\s+{WHICH})?|(?:i'?m |we'?re |we are |i am |all )?(?:done(?: here| now)?|finished"
    rf"|happy|satisfied|content)(?:\s+{_IT})*|"
    rf"(?:i'?m |i am |we'?re )(?:happy|satisfied|content|done) with {OTHER}|"
    r"(?:that'?s|this is|it'?s|that is|looks?|(?:this|that|it) looks)\s+"
    r"(?:it|perfect|good enough|the one|what i (?:want|wanted|had in mind|meant)|exactly (?:it|right|what i (?:want|wanted|had in mind"
    r"|meant|asked for)))|(?:it'?s |absolutely |just )?perfect|ship it|lgtm|(?:that|this) (?:will do|works)(?: for me)?|good enough"
    rf"|(?:finish|finali[sz]e|wrap (?:it )?up|call it (?:done|a day)|save|end)(?:\s+(?:up|{_IT}))*|(?:i )?love it|keep (?:this|that) one"
    rf"|(?:i(?:'ll| will)\s+)?(?:take (?:it|this|that)(?: one)?|save\s+{WHICH.replace('<a', '<c')})|(?:we|i|you) can stop(?: here| now)?"
)
def accept(match: re.Match[str], situation: Situation) -> Action | None:
    """Reads that the person accepts a picture, by number or the current one."""
    chosen = next((found for prefix in "abc" if (found := number(match, situation, prefix)) is not None), None)
    return Action(kind="accept", image=chosen)


@rule(rf"{WHICH}\s+(?:is|looks)\s+(?:perfect|it|the one|exactly (?:right|what i wanted|it)|final|good enough)(?:[,.!]\s*.*)?")
def accept_that(match: re.Match[str], situation: Situation) -> Action | None:
    """Reads that the person accepts a numbered picture: "the second one is perfect"."""
    return Action(kind="accept", image=number(match, situation))


@rule(
    r"(?:(?:give|show|make|draw|try|i want|i'd like|do)(?: me)?\s+)?(?:some |a few |a couple (?:of )?|\d+ )?(?:more"
    r"|others?|ones?|variations?"
    r"|variants?|versions?|similar(?: ones| images| pictures)?|something|pictures|images)\s+(?:ones? |images? |pictures? )?"
    r"(?:(?:just |that look |that are )?(?:like|similar to|to|of|on|in the (?:style|spirit|direction|vein) of|close to"
    r"|along the lines of)\s+)?"
    rf"{WHICH}|(?:just )?(?:similar to|like|along the lines of"
    rf"|close to)\s+{WHICH.replace('<a', '<b')}(?:\s+but (?:different|new|other seeds))?"
)
def more_like(match: re.Match[str], situation: Situation) -> Action | None:
    """Reads a wish for more pictures like a numbered one."""
    chosen = number(match, situation)
    return Action(kind="more", image=number(match, situation, "b") if chosen is None else chosen) if situation.request else None


@rule(
    r"(?:(?:give|show|make|draw|try|(?:can|could|may) i (?:see|have|get))(?: me)?\s+)?(?:some |a few |a )?(?:more|again"
    r"|once more|another(?: (?:one|batch"
    r"|try|round|set))?|(?:different|other|new|fresh) (?:ones|images|pictures|versions|variations|variants|options"
    r"|takes)|others|more (?:images|pictures|ones"
    r"|options|variations|variants)|variations|variants)"
    r"|(?:try|draw|generate|do)\s+(?:it |that |this )?(?:again|once more)|re-?(?:draw|roll|generate|do|try)(?: it"
    r"| that| this)?|keep going|continue|next|new seeds?|vary (?:it|this|that)"
)
def more(match: re.Match[str], situation: Situation) -> Action | None:
    """Reads a wish for more pictures of the same request."""
    return Action(kind="more") if situation.request else None


@rule(rf"(?:vary|redraw|iterate on|riff on|build on)\s+{WHICH}")
def vary(match: re.Match[str], situation: Situation) -> Action | None:
    """Reads a wish to vary a numbered picture."""
    return Action(kind="more", image=number(match, situation)) if situation.request else None


@rule(
    r"(?:(?:i(?:'ll| will|'d)?\s+)?(?:pick|choose|select|take|use|go (?:on )?with|prefer|like|liked|love|(?:continue|proceed"
    r"|carry on|go on) (?:with|from)"
    rf"|(?:work|base it|build) (?:with|on|from)|start (?:from|with)|go for|want|give me|keep (?:going )?(?:with|on))\s+)?(?:the )?{WHICH}"
    r"(?:\s+(?:is|looks)\s+(?:\w+\s+)?(?:better|best|nice|good|nicer|nicest|great|favou?rite)"
    r"|\s+it is)?(?:\s*,\s*(?:use|take) (?:it|that|this|that one))?(?:\s+(?:(?:the )?(?:best|better|more|most)"
    r"|as (?:the |a )?(?:base|basis|start)|please))?"
)
def pick(match: re.Match[str], situation: Situation) -> Action | None:
    """Reads the choice of a numbered picture to continue from."""
    chosen = number(match, situation)
    return None if chosen is None or not situation.shown else Action(kind="pick", image=chosen)


@rule(
    r"(?:compare|vote(?: between| on)?|a/?b(?: test)?|blind(?: test| vote| comparison)?|let me (?:vote|compare"
    r"|choose blind)|(?:show|put)(?: me)? (?:two|them|both) side by side|(?:start|do|run) (?:a |an )?(?:a/?b|blind"
    r"|vote).*)"
    rf"(?:\s+(?:between\s+)?{WHICH}(?:\s+(?:and|with|to|against|vs\.?|versus|or)\s+{OTHER})?)?(?:\s+(?:again|now"
    r"|blind(?:ly)?|images|pictures|two))*"
)
def compare(match: re.Match[str], situation: Situation) -> Action | None:
    """Reads a wish to compare two pictures blindly."""
    return Action(kind="compare", image=number(match, situation), other=number(match, situation, "b"))


@rule(
    r"(?:(?:don'?t|do not|never) (?:spend|use|draw) (?:more than|over)|(?:spend|use|draw) (?:no more than|at most"
    r"|max(?:imum|\.)?|up to)|(?:(?:my|the|set|raise|lower|increase|change|limit) )*(?:cap|budget|limit|total)(?: is"
    r"| of| to| at|:| be)*(?: no more than| at most)?|limit (?:yourself |it |this |everything |the whole thing )?to|at most"
    r"|no more than)\s+(?P<n>\d+)(?:\s*(?:images?|pictures?|pics?|drawings?))?(?: in total| altogether| overall"
    r"| at most)?"
)
def cap(match: re.Match[str], situation: Situation) -> Action | None:
    """Reads a limit on the number of pictures."""
    return Action(kind="cap", images=int(match["n"]))


@rule(
    r"(?:search|find|look up|look for|browse|query|show)(?: me)?(?: in)?(?: the)?(?: prompt)?(?: database| db"
    r"| library)?(?: for)?(?: some)? ?(?:prompts?|examples?|inspiration)?(?: (?:about|for|of|like|with|on"
    r"|by))? (?P<q>.+)|"
    r"(?:what|how) (?:do|did|would) (?:others|other people|professionals|people|experts) (?:write|prompt|use"
    r"|do)(?: (?:about|for))? (?P<r>.+)|(?:(?:which|what|any) )?(?:prompts|examples|inspiration)"
    r"(?: (?:do you (?:know|have)|are there|have you(?: got)?))?"
    r" (?:about|for|of|with) (?P<s>.+)"
)
def find(match: re.Match[str], situation: Situation) -> Action | None:
    """Reads a search in the prompt database."""
    said = match.group().lower()
    if re.match(r"(?:search|look) (?:harder|further|more|on|again|a bit|it|this|that)\b", said):
        return None
    if not re.match(r"(?:search|find|look|browse|query|what|which|how|prompts|examples|inspiration)", said) and not re.search(
        r"\b(?:prompts?|examples?|database|library|inspiration)\b", said
    ):
        return None
    return Action(kind="find", text=(match["q"] or match["r"] or match["s"]).strip(" ?.!"))


@rule(
    r"(?:use|switch(?: back)? to|change to|try|load|draw with|go to|with)\s+(?:the\s+)?(?:checkpoint"
    r"|model)\s+(?:to\s+)?(?P<x>\S.*)|(?:change|switch|set)\s+(?:the\s+)?(?:checkpoint|model)\s+(?:to\s+)?(?P<y>\S.*)|"
    r"(?:use|switch to|try)\s+(?:the\s+)?(?P<z>\S+)\s+(?:checkpoint|model)|(?:checkpoint|model)[: ]\s*(?P<w>\S+)"
)
def checkpoint(match: re.Match[str], situation: Situation) -> Action | None:
    """Reads a switch to a checkpoint named as such."""
    name = next(part for part in (match["x"], match["y"], match["z"], match["w"]) if part)
    return Action(kind="checkpoint", text=name.strip(" \"'").rstrip(".!"))


@rule(r"(?:use|switch to|try|load)\s+(?:the\s+)?(?P<name>[\w./-]+)")
def known_checkpoint(match: re.Match[str], situation: Situation) -> Action | None:
    """Reads a switch to a checkpoint by its name alone, where the situation lists it."""
    return Action(kind="checkpoint", text=match["name"]) if match["name"] in situation.checkpoints else None


_SOLVE = r"(?:run|use|try|apply|start|launch|call|do)"
_SPENDING = (
    r"(?:[\s,]+(?:with|for|on|using|spending|at|and spend)?\s*(?:(?:a|the)?\s*budget of|up to|at most|about|only"
    r"|another)?\s*(?P<n>\d+)(?:\s*(?:more )?(?:images?|pictures?|pics?|drawings?))?(?:\s+(?:on it|budget|at most"
    r"|of budget))?)?"
)


@rule(
    rf"{_SOLVE}\s+(?:the\s+|a\s+|an\s+)?(?P<m>[\w -]*?(?:{'|'.join(METHODS)}|solver|optimi[sz]er|search"
    rf"|method)(?:\s+(?:solver|method|search|on it|on this|it|optimi[sz]er))*){_SPENDING}"
)
def solve(match: re.Match[str], situation: Situation) -> Action | None:
    """Reads a wish to run a method, with an optional budget in pictures."""
    return Action(kind="solve", method=method(match["m"]) or "auto", images=int(match["n"]) if match["n"] else None)


@rule(
    rf"let\s+(?:the\s+)?(?P<m>[\w -]*?(?:{'|'.join(METHODS)}|solver|optimi[sz]er|search|method))\s+(?:try|run|work|go|have a go){_SPENDING}"
)
def let_run(match: re.Match[str], situation: Situation) -> Action | None:
    """Reads a wish to let a method run: "let df-prompt try"."""
    return Action(kind="solve", method=method(match["m"]) or "auto", images=int(match["n"]) if match["n"] else None)


@rule(
    r"(?:optimi[sz]e|improve|refine|polish|enhance|tune|search|solve|(?:try|work|look)(?= harder))"
    r"(?:\s+(?:it|this|that|the prompt|the image"
    r"|further|harder|more|a bit|properly|on|automatically))*(?:\s+(?:with|using|by"
    rf"|via)\s+(?:the\s+)?(?P<m>{'|'.join(METHODS)})(?:\s+(?:solver|method))?)?{_SPENDING}"
)
def optimize(match: re.Match[str], situation: Situation) -> Action | None:
    """Reads a wish to optimize the prompt, with an optional method and budget."""
    return Action(kind="solve", method=method(match["m"] or "") or "auto", images=int(match["n"]) if match["n"] else None)


@rule(rf"(?:spend|invest|use|take)\s+(?:up to |at most |another |about )?{COUNT}(?:\s+(?:(?:on|to|for|with|in|by)\s+)?(?P<rest>.*))?")
def spend(match: re.Match[str], situation: Situation) -> Action | None:
    """Reads a wish to spend a number of pictures on optimizing."""
    return Action(kind="solve", method=method(match["rest"] or "") or "auto", images=int(match["n"]))
