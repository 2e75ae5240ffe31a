"""The records that every method reads and writes: frozen, hashable, identified by their content.

A `Conditioning` is the input of an image model, a `Drawing` is one image of it, a `Score` is one scorer's value for one drawing. Equal
content gives an equal `id` in any process on any machine, so an id is also the cache key.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal

WeightMode = Literal["mean_restore", "none", "norm_restore", "lerp_from_empty"]
RangeUnit = Literal["step", "sigma"]
Chunking = Literal["comma", "word", "sentence"]
RunStatus = Literal["waiting", "running", "paused", "interrupted", "done", "failed"]

ONE_WINDOW = 75
"""A text of so many bytes fits any encoder's window of 75 tokens, since each token reads at least one byte."""

ID_LENGTH = 24  # hex digits: 96 bits, so a collision among a billion records has odds below 1e-10


def content_id(content: object) -> str:
    """Returns the first 24 hex digits of the SHA-256 of `content` as canonical JSON (sorted keys, no blanks, UTF-8)."""
    document = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(document.encode("utf-8", "surrogatepass")).hexdigest()[:ID_LENGTH]


def as_fraction(value: Fraction | float | int | str) -> Fraction:
    """Returns the exact rational of a number *as written*: 0.29 becomes 29/100, so that 0.29 of 100 steps is 29 steps and not 28."""
    return value if isinstance(value, Fraction) else Fraction(str(value))


@dataclass(frozen=True, slots=True)
class EffectSpan:
    """One stretch of a prompt that acts during part of the denoising, with its own weight (DF-Prompt).

    `start`, `end`: character offsets into the text, half open. `lo`, `hi`: the acting part as fractions of the *elapsed* denoising, half
    open, 0 = pure noise, 1 = finished image. `weight`: emphasis, 1 = none. Numbers are exact. Raises ValueError for values out of range.
    """

    start: int
    end: int
    lo: Fraction = Fraction(0)
    hi: Fraction = Fraction(1)
    weight: Fraction = Fraction(1)

    def __post_init__(self) -> None:
        for name in ("lo", "hi", "weight"):
            object.__setattr__(self, name, as_fraction(getattr(self, name)))
        if not 0 <= self.start < self.end:
            raise ValueError(f"an effect span needs 0 <= start < end, not {self.start}..{self.end}")
        if not 0 <= self.lo <= self.hi <= 1:
            raise ValueError(f"an effect range needs 0 <= lo <= hi <= 1, not {self.lo}..{self.hi}")
        if self.weight < 0:
            raise ValueError(f"a span's weight must not be negative: {self.weight}")

    @property
    def is_plain(self) -> bool:
        """Whether the span changes nothing: it acts from first to last step at weight 1."""
        return self.effect == (0, 1, 1)

    @property
    def effect(self) -> tuple[Fraction, Fraction, Fraction]:
        """The effect without the place: `lo`, `hi`, `weight`."""
        return self.lo, self.hi, self.weight

    def to_json(self) -> list[int | str]:
        """Returns the span as a JSON-able list."""
        return [self.start, self.end, str(self.lo), str(self.hi), str(self.weight)]

    @classmethod
    def from_json(cls, row: list[Any]) -> EffectSpan:
        """Returns the span of a list made by `to_json`."""
        start, end, lo, hi, weight = row
        return cls(int(start), int(end), as_fraction(lo), as_fraction(hi), as_fraction(weight))


@dataclass(frozen=True, slots=True)
class AdapterSetting:
    """An adapter of AP-Adapter's second stage: its weights, `eta` (one weight per prototype; None = read from the text), `scale`."""

    weights: str
    eta: tuple[float, ...] | None = None
    scale: float = 1.0

    def __post_init__(self) -> None:
        # Equal numbers such as 1 and 1.0, or 0.0 and -0.0, have different JSON and so would have different ids.
        object.__setattr__(self, "scale", float(self.scale) + 0.0)
        object.__setattr__(self, "eta", tuple(float(weight) + 0.0 for weight in self.eta) if self.eta else None)


@dataclass(frozen=True)
class Conditioning:
    """The input of an image model: prompt, negative prompt, effect spans and adapter.

    Canonical on construction, so that equivalent inputs are equal and share an `id`: texts are NFC with unix line ends; spans are sorted,
    those without effect dropped, and neighbours with equal effect merged; `weight_mode` falls back to the default where no weight differs
    from 1; `chunking` falls back to the default where both texts are too short to need chunks; an adapter at scale 0 becomes None. Offsets
    count characters of the canonical text.

    `breaks`, `negative_breaks`: offsets at which the text encoder begins another chunk, whatever room is left (BREAK of A1111).
    `chunking`: where a text longer than the encoder's window is divided, as A1111 does (after a nearby comma), ComfyUI (between words) or
    compel (after a sentence).

    Raises ValueError for spans that overlap or lie outside their text.
    """

    text: str
    negative: str = ""
    spans: tuple[EffectSpan, ...] = ()
    negative_spans: tuple[EffectSpan, ...] = ()
    weight_mode: WeightMode = "mean_restore"
    range_unit: RangeUnit = "step"
    adapter: AdapterSetting | None = None
    breaks: tuple[int, ...] = ()
    negative_breaks: tuple[int, ...] = ()
    chunking: Chunking = "comma"

    def __post_init__(self) -> None:
        put = object.__setattr__
        for name in ("text", "negative"):
            put(self, name, canonical_text(getattr(self, name)))
        put(self, "spans", _canonical_spans(self.spans, self.text))
        put(self, "negative_spans", _canonical_spans(self.negative_spans, self.negative))
        put(self, "breaks", _canonical_breaks(self.breaks, self.text))
        put(self, "negative_breaks", _canonical_breaks(self.negative_breaks, self.negative))
        spans = self.spans + self.negative_spans
        if max(len(self.text.encode(errors="surrogatepass")), len(self.negative.encode(errors="surrogatepass"))) <= ONE_WINDOW:
            put(self, "chunking", "comma")
        if all(span.weight == 1 for span in spans):
            put(self, "weight_mode", "mean_restore")
        if all((span.lo, span.hi) == (0, 1) for span in spans):
            put(self, "range_unit", "step")
        if self.adapter is not None and self.adapter.scale == 0:
            put(self, "adapter", None)

    @cached_property
    def id(self) -> str:
        """The content id."""
        return content_id(["conditioning", self.to_json()])

    @property
    def is_plain(self) -> bool:
        """Whether stock diffusers draws it from `prompt` and `negative_prompt` alone."""
        return not (self.spans or self.negative_spans or self.breaks or self.negative_breaks) and self.adapter is None

    def to_json(self) -> dict[str, Any]:
        """Returns canonical JSON without keys at their default, so that ids stay equal when fields are added."""
        document: dict[str, Any] = {"text": self.text}
        if self.negative:
            document["negative"] = self.negative
        if self.spans:
            document["spans"] = [span.to_json() for span in self.spans]
        if self.negative_spans:
            document["negative_spans"] = [span.to_json() for span in self.negative_spans]
        if self.weight_mode != "mean_restore":
            document["weight_mode"] = self.weight_mode
        if self.range_unit != "step":
            document["range_unit"] = self.range_unit
        if self.adapter:
            document["adapter"] = [self.adapter.weights, self.adapter.eta and list(self.adapter.eta), self.adapter.scale]
        if self.breaks:
            document["breaks"] = list(self.breaks)
        if self.negative_breaks:
            document["negative_breaks"] = list(self.negative_breaks)
        if self.chunking != "comma":
            document["chunking"] = self.chunking
        return document

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Conditioning:
        """Returns the conditioning of a document made by `to_json`."""
        adapter = document.get("adapter")
        return cls(
            text=document["text"],
            negative=document.get("negative", ""),
            spans=tuple(EffectSpan.from_json(row) for row in document.get("spans", ())),
            negative_spans=tuple(EffectSpan.from_json(row) for row in document.get("negative_spans", ())),
            weight_mode=document.get("weight_mode", "mean_restore"),
            range_unit=document.get("range_unit", "step"),
            adapter=AdapterSetting(adapter[0], adapter[1] and tuple(adapter[1]), adapter[2]) if adapter else None,
            breaks=tuple(document.get("breaks", ())),
            negative_breaks=tuple(document.get("negative_breaks", ())),
            chunking=document.get("chunking", "comma"),
        )


@dataclass(frozen=True, slots=True)
class SamplerSettings:
    """How a drawing is made. `scheduler`: a diffusers class name; `width`, `height`: pixels; `dtype`: torch's name.

    Raises ValueError for fewer than 1 step or a negative guidance scale.
    """

    scheduler: str = "DDIMScheduler"
    steps: int = 20
    guidance_scale: float = 7.5
    width: int = 64
    height: int = 64
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, not {self.steps}")
        if self.guidance_scale < 0:
            raise ValueError(f"guidance scale must not be negative: {self.guidance_scale}")
        object.__setattr__(self, "guidance_scale", float(self.guidance_scale))

    @property
    def unet_rows(self) -> int:
        """UNet rows of one image: two a step with guidance (a scale of 1 or less switches guidance off), else one."""
        return self.steps * (2 if self.guidance_scale > 1 else 1)

    def to_json(self) -> dict[str, Any]:
        """Returns all fields as a JSON-able dict."""
        return {item.name: getattr(self, item.name) for item in fields(self)}


@dataclass(frozen=True)
class Drawing:
    """One image: its conditioning, its noise (`seed`), its settings, and the checkpoint (a hash of its weights).

    The batch shape (bucket) and the device are recorded beside a stored drawing but do not belong to its identity: they change a pixel by
    at most 1/255.
    """

    conditioning: Conditioning
    seed: int
    settings: SamplerSettings
    checkpoint: str

    @cached_property
    def id(self) -> str:
        """The content id."""
        return content_id(["drawing", self.conditioning.id, self.seed, self.settings.to_json(), self.checkpoint])


@dataclass(frozen=True, slots=True)
class Score:
    """One scorer's value for one drawing.

    `reference` is the id of the *user's* prompt, never of the optimized one, so that intent is preserved.
    """

    drawing: str
    reference: str
    scorer: str
    version: str
    value: float


@dataclass(frozen=True)
class Prompt:
    """A prompt that somebody wrote. `subject`: the naive prompt of which it is a professional form, where known."""

    text: str
    source: str = "user"
    subject: str = ""
    negative: str = ""
    nsfw: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", canonical_text(self.text))

    @classmethod
    def stored(cls, id: str, text: str, source: str, subject: str, negative: str, nsfw: float | None) -> Prompt:
        """Returns a prompt with a known id: hashing the texts of hundreds of hits would take longer than finding them."""
        prompt = cls.__new__(cls)  # stored texts are canonical
        prompt.__dict__.update(text=text, source=source, subject=subject, negative=negative, nsfw=nsfw, id=id)
        return prompt

    @cached_property
    def id(self) -> str:
        """The id of the text, which ignores case and runs of blanks."""
        return text_id(self.text)


@dataclass(frozen=True)
class Instruction:
    """An instruction for the rewriter. `parent`: the instruction from which it was made, `finding`: the text gradient that led to it."""

    text: str
    parent: str | None = None
    finding: str = ""

    @cached_property
    def id(self) -> str:
        """The content id of the canonical text."""
        return content_id(["instruction", canonical_text(self.text)])


@dataclass(frozen=True, slots=True)
class Candidate:
    """A conditioning proposed in a run: by which method (`origin`), from which other candidate (`parent`, a conditioning id)."""

    run: str
    conditioning: Conditioning
    origin: str
    parent: str | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """One command a person started. `settings` is JSON-able; times are ISO 8601 in UTC. `error`: why a job failed or is paused."""

    id: str
    command: str
    prompt: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    status: RunStatus = "running"
    started: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Vote:
    """A person's blind choice between two drawings for one prompt; `winner` is one of the two, or None for a tie."""

    reference: str
    left: str
    right: str
    winner: str | None
    voter: str = ""


def canonical_text(text: str) -> str:
    """Returns `text` in NFC with unix line ends and without outer blanks. Inner blanks stay as the user wrote them."""
    return unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n").strip()


def text_id(text: str) -> str:
    """Returns the id of a prompt's text, ignoring case and runs of blanks; prompts with equal ids are the same prompt."""
    return content_id(["text", " ".join(canonical_text(text).lower().split())])


def _canonical_breaks(breaks: tuple[int, ...], text: str) -> tuple[int, ...]:
    """Returns the breaks in order, each once; one at the end of the text begins nothing. Raises ValueError for one outside of it."""
    if breaks and (min(breaks) < 0 or max(breaks) > len(text)):
        raise ValueError(f"a break lies outside of a text of {len(text)} characters")
    return tuple(sorted({place for place in breaks if text[place:].strip()}))


def _canonical_spans(spans: tuple[EffectSpan, ...], text: str) -> tuple[EffectSpan, ...]:
    kept = tuple(sorted((span for span in spans if not span.is_plain), key=lambda span: span.start))
    for left, right in pairwise(kept):
        if right.start < left.end:
            raise ValueError(f"effect spans overlap at character {right.start}")
    if kept and kept[-1].end > len(text):
        raise ValueError(f"effect span ends at character {kept[-1].end} of a text of {len(text)}")
    joined = list[EffectSpan]()
    for span in kept:
        if joined and joined[-1].end == span.start and joined[-1].effect == span.effect:
            span = replace(joined.pop(), end=span.end)
        joined.append(span)
    return tuple(joined)
