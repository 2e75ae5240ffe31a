"""The data file is what its script makes of Debian's WordNet, byte for byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from limner.promptdb.errors import BadInput
from limner.tools.lexicon.build import DEBIAN, build
from limner.tools.lexicon.wordnet import FILE, load


@pytest.mark.slow
@pytest.mark.skipif(not (DEBIAN / "data.noun").exists(), reason="Debian's wordnet-base is not installed")
def test_the_script_makes_the_shipped_bytes() -> None:
    assert build(DEBIAN) == FILE.read_bytes()


def test_a_missing_database_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="wordnet-base"):
        build(tmp_path)


def test_a_broken_data_file_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.xz"
    broken.write_bytes(b"no archive")
    with pytest.raises(BadInput, match=r"broken\.xz"):
        load(broken)
