from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from limner.promptdb.errors import BadInput
from limner.tools.diffusion.card import Card

FULL = {
    "name": "miniature",
    "recommended": {"steps": 20, "guidance_scale": 5, "scheduler": "DDIMScheduler", "width": 64, "height": 48},
    "scorers": {"hps": {"kind": "hps", "path": "scorers/hps", "clip": "scorers/clip"}},
    "objective": "hps",
    "judge": "judge",
    "vocabulary": "words.json",
    "made_by": "somebody",
}


def write(folder: Path, document: Any) -> Path:
    (folder / "card.json").write_text(document if isinstance(document, str) else json.dumps(document))
    return folder


def test_a_card_says_what_its_maker_wrote(tmp_path: Path) -> None:
    (tmp_path / "words.json").write_text('{"nouns": ["cat"]}')
    card = Card.read(write(tmp_path, FULL))
    assert (card.name, card.steps, card.guidance_scale, card.scheduler, card.width, card.height) == (
        "miniature",
        20,
        5.0,
        "DDIMScheduler",
        64,
        48,
    )
    assert card.scorers == FULL["scorers"]
    assert (card.objective, card.judge, card.vocabulary()) == ("hps", "judge", {"nouns": ["cat"]})
    assert card.document["made_by"] == "somebody"


def test_a_folder_without_a_card_has_an_empty_one(tmp_path: Path) -> None:
    card = Card.read(tmp_path)
    assert (card.steps, card.scheduler, dict(card.scorers), card.objective, card.vocabulary()) == (None, None, {}, "", {})


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("{", "is not valid JSON"),
        ("[1]", "must hold one JSON object, not list"),
        ("\ufeff\x00", "is not valid JSON"),
        ({"name": 3}, "'name' must be a text, not 3"),
        ({"recommended": []}, "'recommended' must be an object"),
        ({"recommended": {"steps": 0}}, "'steps' must be a whole number of at least 1, not 0"),
        ({"recommended": {"steps": "20"}}, "'steps' must be a whole number"),
        ({"recommended": {"width": True}}, "'width' must be a whole number"),
        ({"recommended": {"guidance_scale": -1}}, "'guidance_scale' must be a number of at least 0"),
        ('{"recommended": {"guidance_scale": NaN}}', "'guidance_scale' must be a number"),
        ({"recommended": {"scheduler": 1}}, "'scheduler' must be a text"),
        ({"scorers": ["hps"]}, "'scorers' must be an object"),
        ({"scorers": {"hps": "scorers/hps"}}, "scorer 'hps' must be an object"),
        ({"scorers": {"hps": {"kind": "hps"}}}, "scorer 'hps' must be an object"),
        ({"scorers": {"hps": {"kind": "hps", "path": "../../etc"}}}, "must lie inside the checkpoint's folder"),
        ({"scorers": {"hps": {"kind": "hps", "path": "/etc"}}}, "must lie inside the checkpoint's folder"),
        ({"scorers": {"hps": {"kind": "hps", "path": "C:\\x"}}}, "must lie inside the checkpoint's folder"),
        ({"vocabulary": "..\\secrets.json"}, "must lie inside the checkpoint's folder"),
    ],
)
def test_an_invalid_card_is_refused_in_one_line_that_names_the_file(tmp_path: Path, document: Any, message: str) -> None:
    with pytest.raises(BadInput, match=message) as refusal:
        Card.read(write(tmp_path, document))
    assert "\n" not in str(refusal.value)
    assert str(tmp_path / "card.json") in str(refusal.value)


def test_a_file_that_the_card_names_and_nobody_brought_is_refused(tmp_path: Path) -> None:
    card = Card.read(write(tmp_path, FULL))
    with pytest.raises(BadInput, match=r"names 'words\.json', which is not there"):
        card.vocabulary()
    with pytest.raises(BadInput, match="names 'scorers/hps', which is not there"):
        card.path(card.scorers["hps"]["path"])
