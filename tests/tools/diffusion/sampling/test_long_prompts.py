"""Prompts longer than the encoder's window, and prompts with breaks: what the UNet attends to, and what is drawn."""

from __future__ import annotations

import pytest
import torch
from compel import Compel

from limner.promptdb.records import Chunking, Conditioning, Drawing, EffectSpan
from limner.tools.diffusion.checkpoint import Checkpoint
from limner.tools.diffusion.sampling.conditioning import TextEncoding
from limner.tools.diffusion.sampling.sampler import Sampler
from limner.tools.diffusion.sampling.script import Scripts, step_embeddings
from limner.tools.diffusion.sampling.timing import timing
from tests.tools.diffusion.inputs import settings_of

STORY = "a lighthouse in a storm, waves that break on black rocks; a small boat: its sail torn. "


@pytest.fixture(params=["sd1", "sd2"])
def checkpoint(request: pytest.FixtureRequest) -> Checkpoint:
    return request.getfixturevalue(request.param)  # type: ignore[no-any-return]


def drawing(checkpoint: Checkpoint, conditioning: Conditioning) -> Drawing:
    return Drawing(conditioning, 7, settings_of(checkpoint), checkpoint.fingerprint)


def embedded(checkpoint: Checkpoint, conditioning: Conditioning) -> tuple[torch.Tensor, torch.Tensor]:
    """Prompt and negative prompt as the UNet reads them."""
    scripts = Scripts(TextEncoding(checkpoint))
    [positive], [negative] = step_embeddings(scripts, [conditioning], timing(checkpoint, "DDIMScheduler", 4), guided=True)
    return positive.at(0), negative.at(0)


@pytest.mark.parametrize("text", [STORY * 5, STORY.replace(".", ",") * 9, "cat " * 200, "catdog" * 90, STORY])
def test_a_long_prompt_is_read_as_compel_reads_it(checkpoint: Checkpoint, text: str) -> None:
    theirs = Compel(checkpoint.tokenizer, checkpoint.text_encoder, truncate_long_prompts=False)
    expected = theirs.pad_conditioning_tensors_to_same_length([theirs(text), theirs("blurry")])
    found = embedded(checkpoint, Conditioning(text, "blurry", chunking="sentence"))
    for ours, their in zip(found, expected, strict=True):
        assert ours.shape == their[0].shape
        assert float((ours - their[0].detach()).abs().max()) < 1e-5


def test_a_weight_in_a_long_prompt_is_compels(checkpoint: Checkpoint) -> None:
    text = STORY * 5 + "a red moon " + STORY
    start = text.index("a red moon")
    ours = Conditioning(text, spans=(EffectSpan(start, start + 10, weight="1.3"),), weight_mode="lerp_from_empty", chunking="sentence")  # type: ignore[arg-type]
    theirs = Compel(checkpoint.tokenizer, checkpoint.text_encoder, truncate_long_prompts=False)
    expected = theirs(text.replace("a red moon", "(a red moon)1.3"))[0].detach()
    assert float((embedded(checkpoint, ours)[0] - expected).abs().max()) < 1e-5


@pytest.mark.filterwarnings("ignore:the embedding has next to no mean")  # as those of untrained encoders
@pytest.mark.parametrize("chunking", ["comma", "word", "sentence"])
def test_each_window_is_weighted_by_itself(checkpoint: Checkpoint, chunking: Chunking) -> None:
    """A1111, ComfyUI and compel weight and restore chunk by chunk."""
    whole = Conditioning("a red cat a blue dog", spans=(EffectSpan(12, 16, weight="1.5"),), breaks=(10,), chunking=chunking)  # type: ignore[arg-type]
    part = Conditioning("a blue dog", spans=(EffectSpan(2, 6, weight="1.5"),))  # type: ignore[arg-type]
    both, _ = embedded(checkpoint, whole)
    assert torch.equal(both[77:], embedded(checkpoint, part)[0])
    assert torch.equal(both[:77], embedded(checkpoint, Conditioning("a red cat"))[0])


def test_the_shorter_side_is_filled_up_with_the_empty_text_or_repeated_as_comfyui_does(checkpoint: Checkpoint) -> None:
    long = "cat " * 100
    _, filled = embedded(checkpoint, Conditioning(long, "blurry"))
    _, repeated = embedded(checkpoint, Conditioning(long, "blurry", chunking="word"))
    alone, empty = embedded(checkpoint, Conditioning("blurry"))
    assert torch.equal(filled, torch.cat([alone, empty]))
    assert torch.equal(repeated, torch.cat([alone, alone]))


def test_repeating_a_text_changes_no_picture(sd1: Checkpoint) -> None:
    """Attention is a mean over tokens, so that ComfyUI's way of filling up leaves the shorter side as it was."""
    one, two = torch.randn(1, 77, 32), torch.randn(1, 4, 8, 8)
    with torch.no_grad():
        once = sd1.unet(two, 500, encoder_hidden_states=one).sample
        twice = sd1.unet(two, 500, encoder_hidden_states=one.repeat(1, 2, 1)).sample
    assert float((once - twice).abs().max()) < 1e-5


def test_long_and_short_prompts_are_drawn_together_as_they_are_drawn_alone(sd1: Checkpoint) -> None:
    broken = Conditioning("a cat a dog", breaks=(6,))
    drawings = [drawing(sd1, item) for item in (Conditioning("a cat"), Conditioning("cat " * 100), broken, Conditioning("a", "cat " * 160))]
    for asked, together in zip(drawings, Sampler(sd1).draw(drawings), strict=True):
        [alone] = Sampler(sd1).draw([asked])
        assert together.image and alone.image and together.image.tobytes() == alone.image.tobytes()
    assert Sampler(sd1).unet_rows(drawings) == sum(Sampler(sd1).unet_rows([asked]) for asked in drawings)


def test_what_a_break_parts_is_another_picture_than_the_words_in_one_window(sd1: Checkpoint) -> None:
    apart, together = (drawing(sd1, Conditioning("a cat a dog", breaks=breaks)) for breaks in ((6,), ()))
    assert apart.id != together.id
    first, second = (drawn.image for drawn in Sampler(sd1).draw([apart, together]))
    assert first and second and first.tobytes() != second.tobytes()
