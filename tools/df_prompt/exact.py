"""Numbers as people write them in prompts, held exactly: 0.29 of 100 steps is 29 steps, which floats make 28."""

from __future__ import annotations

import re
from fractions import Fraction

NUMBER = r"(?:\d+(?:\.\d*)?|\.\d+)(?:/\d+)?"
"""Digits with an optional point, or a fraction such as 1/3, for what no decimal can say. No sign, no exponent, no NaN."""

LONGEST = 1000  # characters of one number; beyond about 4300 digits Python refuses to read it

DECIMALS = 12  # a longer decimal is written as a fraction instead

_NUMBER = re.compile(NUMBER, re.ASCII)


def read_number(text: str) -> Fraction | None:
    """The number that `text` is, blanks around it apart; None where it is none."""
    text = text.strip()
    if len(text) > LONGEST or not _NUMBER.fullmatch(text):
        return None
    whole, _, below = text.partition("/")
    if not below:
        return Fraction(whole)
    return Fraction(whole) / int(below) if int(below) else None


def write_number(value: Fraction) -> str:
    """Shortest text that `read_number` reads back as `value`: a decimal where one of a few digits is exact, else p/q."""
    decimal, exact = write_decimal(value)
    return decimal if exact else f"{value.numerator}/{value.denominator}"


def write_decimal(value: Fraction, decimals: int = DECIMALS) -> tuple[str, bool]:
    """`value` with at most so many decimals, and whether that is exact."""
    scaled = value * 10**decimals
    digits = f"{round(scaled):0{decimals + 1}d}"
    whole, part = digits[:-decimals], digits[-decimals:].rstrip("0")
    return f"{whole}.{part}" if part else whole, scaled.denominator == 1
