"""Checkpoints named by a hub id, fetched from a hub on this machine."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from limner.tools.diffusion.checkpoint import Checkpoint, open_checkpoint
from tests.tools.diffusion.inputs import Copy, edit, refusal_of
from tests.tools.diffusion.local_hub import serve


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A hub client told to stay offline, with a cache of its own."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def test_offline_an_unknown_id_is_refused(offline: Path) -> None:
    assert "'nobody/nothing' is no folder here, and the hub cannot be asked" in refusal_of("nobody/nothing")


def test_without_a_network_too(sd1_folder: Path) -> None:
    """In a process of its own: the address of the hub is read once, when the client is imported."""
    code = "from limner.tools.diffusion.hub import find_folder\ntry: find_folder('nobody/nothing')\nexcept ValueError as e: print(e)"
    environment = {"HF_ENDPOINT": "http://127.0.0.1:9", "HOME": str(sd1_folder), "PATH": ""}
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=root, capture_output=True, text=True, timeout=60)
    assert "the hub cannot be asked" in done.stdout, done.stderr
    assert len(done.stdout.splitlines()) == 1


@pytest.fixture
def repository(sd1_folder: Path, copy_of: Copy) -> Path:
    """Like a real one, it has much that is not wanted."""
    folder = copy_of(sd1_folder)
    for name in ("safety_checker/model.safetensors", "unet/diffusion_pytorch_model.bin", "v1-5-pruned.ckpt", "README.md"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x")
    (folder / "unet" / "diffusion_pytorch_model.fp16.safetensors").write_bytes(b"x")
    (folder / "scorers").mkdir()
    (folder / "scorers" / "config.json").write_text("{}")
    (folder / "scorers" / "code.py").write_text("raise SystemExit")
    (folder / "card.json").write_text('{"scorers": {"clip": {"kind": "clip", "path": "scorers"}}}')
    return folder


@pytest.fixture
def broken() -> set[str]:
    return set()


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, repository: Path, broken: set[str]) -> Iterator[list[str]]:
    """A hub on this machine that has one repository, somebody/tiny; lists what is fetched from it."""
    with serve("somebody/tiny", repository, broken) as (address, fetched):
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
        yield fetched


def test_only_what_is_read_is_fetched_once_and_opens_offline_later(
    online: list[str], sd1: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = open_checkpoint("somebody/tiny", device="cpu")
    assert (checkpoint.name, checkpoint.fingerprint) == ("somebody/tiny", sd1.fingerprint)
    assert checkpoint.card.path("scorers").is_dir()
    assert sorted(online) == [
        "card.json",
        "model_index.json",
        "scheduler/scheduler_config.json",
        "scorers/config.json",
        "text_encoder/config.json",
        "text_encoder/model.safetensors",
        "tokenizer/merges.txt",
        "tokenizer/tokenizer_config.json",
        "tokenizer/vocab.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors",
    ]
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert open_checkpoint("somebody/tiny", device="cpu").fingerprint == sd1.fingerprint
    assert len(online) == 13


def test_an_id_that_the_hub_does_not_have(online: list[str]) -> None:
    assert "'somebody/else' is neither a folder here nor a repository on the hub" in refusal_of("somebody/else")


@pytest.mark.parametrize("file", ["model_index.json", "vae/diffusion_pytorch_model.safetensors"])
def test_a_file_that_cannot_be_had_is_reported_in_one_line(online: list[str], broken: set[str], file: str) -> None:
    broken.add(file)
    assert "somebody/tiny could not be fetched" in refusal_of("somebody/tiny")


def test_a_hub_in_trouble_is_asked_once_not_again_and_again(online: list[str], broken: set[str]) -> None:
    broken.add("api")
    assert "the hub cannot be asked" in refusal_of("somebody/tiny")
    assert online == ["api"]


def test_a_repository_of_another_kind(online: list[str], repository: Path) -> None:
    (repository / "model_index.json").unlink()
    assert "hub repository somebody/tiny has no model_index.json" in refusal_of("somebody/tiny")


def test_another_family_is_refused_before_its_weights_are_fetched(online: list[str], repository: Path) -> None:
    edit(repository / "model_index.json", _class_name="StableDiffusionXLPipeline")
    assert "hub repository somebody/tiny is a StableDiffusionXLPipeline" in refusal_of("somebody/tiny")
    assert online == ["model_index.json"]


def test_pickled_weights_are_never_fetched(online: list[str], repository: Path) -> None:
    (repository / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    (repository / "unet" / "diffusion_pytorch_model.fp16.safetensors").unlink()
    assert "unet/diffusion_pytorch_model.bin is pickled" in refusal_of("somebody/tiny")
    assert online == ["model_index.json"]
