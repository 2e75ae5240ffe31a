"""The intent contract on the string: what counts as lost, negated or banned, and that the later wish wins."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.agents.contract import Contract
from limner.promptdb.errors import BadInput


@pytest.mark.parametrize(
    ("contract", "text", "negative", "breach"),
    [
        (Contract(pins=("red car",)), "a Red  car, sharp", "", None),
        (Contract(pins=("red car",)), "a car that is red", "", "lost pin"),
        (Contract(pins=("car",)), "a scar", "", "lost pin"),
        (Contract(pins=("car",)), "a car", "car, blurry", "negated pin"),
        (Contract(triggers=("oHwX man",)), "a photo of oHwX man", "", None),
        (Contract(triggers=("oHwX man",)), "a photo of ohwx man", "", "lost trigger"),
        (Contract(bans=("8k",)), "a car, 8K", "", "banned word"),
        (Contract(bans=("8k",)), "a car", "8k", None),
        (Contract(traits=("blue eyes",)), "a cat", "", None),
    ],
)
def test_breaches(contract: Contract, text: str, negative: str, breach: str | None) -> None:
    found = contract.breach(text, negative)
    assert (found[0] if found else None) == breach


def test_pinned_and_banned_at_once_is_refused_and_the_later_wish_counts() -> None:
    with pytest.raises(BadInput, match="both pinned and banned"):
        Contract(pins=("red car",), bans=("car",)).check()
    changed = Contract(pins=("car",)).adding("bans", ["Car"])
    assert changed == Contract(bans=("Car",))
    assert changed.adding("pins", ["car"]) == Contract(pins=("car",))


def test_a_prompt_that_holds_a_banned_word_is_refused_before_anything_is_drawn() -> None:
    with pytest.raises(BadInput, match="banned words 'car'"):
        Contract(bans=("car",)).check_prompt("a red car")


@given(st.lists(st.text(min_size=1, max_size=20), max_size=4), st.lists(st.text(min_size=1, max_size=20), max_size=4))
def test_json_keeps_it_whole(pins: list[str], bans: list[str]) -> None:
    contract = Contract().adding("pins", pins).adding("bans", bans)
    assert Contract.from_json(contract.to_json()) == contract


@pytest.mark.parametrize("clause", ["pins", "triggers", "bans", "traits"])
def test_a_contract_with_any_clause_is_one(clause: str) -> None:
    assert Contract(**{clause: ("x",)}) and not Contract()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("contract", "refusal"),
    [
        (Contract(pins=("red car",), bans=("blue",)), ""),
        (Contract(pins=("red car",), bans=("car",)), "both pinned and banned"),
        (Contract(triggers=("ohwx",), bans=("OHWX",)), "both pinned and banned"),
        (Contract(pins=("car",), bans=("red car",)), ""),  # a pin may be part of what is banned
        (Contract(pins=("car",), bans=("",)), ""),
        (Contract(pins=("x" * 120,)), ""),
        (Contract(pins=("x" * 121,)), "120 characters"),
        (Contract(bans=("x" * 121,)), "120 characters"),
        (Contract(traits=("x" * 121,)), "120 characters"),
    ],
)
def test_which_contracts_are_refused(contract: Contract, refusal: str) -> None:
    if not refusal:
        assert contract.check() is contract
    else:
        with pytest.raises(BadInput, match=refusal):
            contract.check()


@pytest.mark.parametrize(("ban", "refused"), [("car", True), ("CAR", True), ("scar", False), ("", False), (" ", False)])
def test_a_prompt_that_holds_a_banned_word_itself_is_refused(ban: str, refused: bool) -> None:
    contract = Contract(bans=("neon", ban))
    if refused:
        with pytest.raises(BadInput, match="itself holds"):
            contract.check_prompt("a red car")
    else:
        contract.check_prompt("a red car")
