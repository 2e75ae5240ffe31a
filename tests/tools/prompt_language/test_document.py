"""The canonical JSON: what other programs read and write."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings

from limner.promptdb.errors import BadInput
from limner.promptdb.records import Conditioning
from limner.tools.prompt_language.document import from_document, to_document
from limner.tools.prompt_language.parse import read
from tests.tools.prompt_language.prompts import conditionings


@settings(deadline=None)
@given(conditionings())
def test_a_prompt_comes_back_from_its_document(conditioning: Conditioning) -> None:
    assert from_document(json.loads(json.dumps(to_document(conditioning)))) == conditioning


def test_the_document_is_this_one() -> None:
    conditioning = replace(read("a [cat:0.5-1:1.5]", "[blur:0-1/3:1]"), range_unit="sigma", weight_mode="none")
    assert to_document(conditioning) == {
        "version": 1,
        "text": "a cat",
        "negative": "blur",
        "spans": [{"start": 2, "end": 5, "words": "cat", "lo": "0", "hi": "0.5", "weight": "1.5"}],
        "negative_spans": [{"start": 0, "end": 4, "words": "blur", "lo": "2/3", "hi": "1", "weight": "1"}],
        "semantics": {"axis": "elapsed", "range": "sigma", "weight": "none"},
    }
    assert from_document(to_document(conditioning)) == conditioning


GOOD: dict[str, Any] = {"version": 1, "text": "a cat", "spans": [{"start": 2, "end": 5, "lo": 0.5}]}


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"text": None},
        {"text": " a cat"},
        {"semantics": {"range": "frames"}},
        {"semantics": {"axis": "noise"}},
        {"semantics": []},
        {"spans": 3},
        {"spans": [3]},
        {"spans": [{"start": 2}]},
        {"spans": [{"start": 2, "end": 9, "lo": 0.5}]},
        {"spans": [{"start": 2, "end": 5, "lo": 0.5, "hi": 0.25}]},
        {"spans": [{"start": 2, "end": 5, "lo": "nan"}]},
        {"spans": [{"start": 2, "end": 5, "weight": -1}]},
        {"spans": [{"start": "2", "end": 5}]},
    ],
)
def test_a_document_that_says_something_else_is_refused(change: dict[str, Any]) -> None:
    assert from_document(GOOD) == read("a [cat:0-0.5:1]")
    with pytest.raises(BadInput):
        from_document({**GOOD, **change})
