"""What one request, one client and the whole server may ask for. Numbers only; whoever serves enforces them."""

from __future__ import annotations

from dataclasses import dataclass

PROMPT_CHARS = 4000
"""Longer than any text encoder reads by far, and than any prompt a person writes."""

QUERY_CHARS = 1000
PIN_CHARS = 200
PINS = 32
PROMPTS = 10_000
"""Prompts of one optimize job."""

SCORERS = 8
STEPS = 250
GUIDANCE = 100.0
SEEDS = 256
VARIANTS = 64
ITERATIONS = 100
HITS = 200
RUNS = 500


@dataclass(frozen=True, slots=True)
class Limits:
    """`body`, `job_body`, `upload`: bytes of a request, of one that brings a file of prompts, and of one that brings a picture.
    `pixels`: of a picture to be judged. `budget`: pictures that one request may draw. `waiting`: requests in line for the one that is
    drawing. `per_client`: of these from one client. `requests`: of any kind under way from one client. `chat_messages`: of one chat."""

    body: int = 256 << 10
    job_body: int = 8 << 20
    upload: int = 16 << 20
    pixels: int = 4096 * 4096
    budget: int = 100_000
    waiting: int = 32
    per_client: int = 8
    requests: int = 128
    chat_messages: int = 1000


DEFAULTS = Limits()
