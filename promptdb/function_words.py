"""English words that say nothing about a picture by themselves: searches pass them by where there are others."""

from __future__ import annotations

_WORDS = """
a an the and or of in on at with without by to from for as into onto over under is are was be been being it its this that these those
his her their our your my he she they we you i who which there while very
"""

FUNCTION_WORDS = frozenset(_WORDS.split())
