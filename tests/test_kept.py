"""What the commands gave on the embedded checkpoint when it was kept, they give still: documents, ids, scores, what the database holds.

Each case runs as processes of its own, by `python main.py` alone. Where a change is meant, `python -m tests.kept.make ID` writes it anew.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kept.commands import CASES, Case
from tests.kept.run import FOLDER, differences, read, run

SHOWN = 20


@pytest.mark.parametrize("case", [pytest.param(case, id=case.id, marks=[pytest.mark.slow] if case.slow else []) for case in CASES])
def test_a_command_gives_what_it_gave(case: Case, tmp_path: Path) -> None:
    found = list(differences(read(case), run(case, tmp_path)))
    more = [f"... and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
    assert not found, "\n".join([f"{case.id} is not what was kept:", *found[:SHOWN], *more])


def test_each_kept_file_belongs_to_a_case() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == {case.id for case in CASES}


@pytest.mark.parametrize(
    ("kept", "found", "where"),
    [
        ({"a": [1.0, 2.0]}, {"a": [1.0 + 5e-7, 2.0]}, None),
        ({"a": [1.0, 2.0]}, {"a": [1.0, 2.00001]}, "/a/1: kept 2.0"),
        ({"a": 1}, {"a": 1.0}, "/a: kept 1"),
        ({"a": True}, {"a": 1}, "/a: kept True"),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, "another order"),
        ({"a": 1}, {"a": 1, "b": 2}, "new ['b']"),
        ([1, 2], [1], "kept 2 items, found 1"),
        ({"a": {"b": "x"}}, {"a": {"b": "y"}}, "/a/b: kept 'x', found 'y'"),
    ],
)
def test_a_difference_is_named_by_its_place(kept: object, found: object, where: str | None) -> None:
    lines = list(differences(kept, found))
    assert lines == [] if where is None else where in lines[0]
