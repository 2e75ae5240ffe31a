"""Generated prompts in DiffusionDB's schema: a stand-in for `metadata.parquet` where the real file may not be downloaded.

    python -m benchmarks.promptdb_rows [--rows 1000000] [--out runs/benchmarks/diffusiondb.parquet]

13 columns in DiffusionDB's order and types. Three rows in four begin a new prompt, the others are further pictures of the one before, as
1.5 of its 2 million are unique. Words follow Zipf's law over 60,000 made-up ones, with a subject in front and modifiers that real
prompts carry behind, about 145 characters in all. The same rows for the same count, on any machine.
"""

from __future__ import annotations

import argparse
import itertools
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROWS, BATCH = 1_000_000, 50_000
UNIQUE = 0.75
RARE_WORDS = 60_000

SCHEMA = pa.schema(
    [
        ("image_name", pa.string()),
        ("prompt", pa.string()),
        ("part_id", pa.uint16()),
        ("seed", pa.uint32()),
        ("step", pa.uint16()),
        ("cfg", pa.float32()),
        ("sampler", pa.uint8()),
        ("width", pa.uint16()),
        ("height", pa.uint16()),
        ("user_name", pa.string()),
        ("timestamp", pa.timestamp("us", tz="UTC")),
        ("image_nsfw", pa.float32()),
        ("prompt_nsfw", pa.float32()),
    ]
)

SUBJECTS = ("portrait", "castle", "landscape", "robot", "cat", "dragon", "city", "forest", "woman", "knight", "ship", "flower", "house")
MODIFIERS = (
    *("highly detailed", "trending on artstation", "digital painting", "concept art", "sharp focus", "8 k", "intricate", "elegant"),
    *("smooth", "illustration", "octane render", "unreal engine", "cinematic lighting", "oil painting", "photorealistic", "4 k"),
    *("volumetric lighting", "artstation", "hyperrealistic", "matte painting", "dramatic lighting", "masterpiece", "fantasy"),
    *("soft light", "golden hour", "bokeh", "wide angle", "depth of field", "watercolor", "art nouveau", "cyberpunk", "steampunk"),
    *("baroque", "surrealism", "anime", "studio lighting", "hdr", "symmetrical", "vibrant colors", "muted colors", "close up"),
    *("award winning", "rim light", "ray tracing", "line art", "impressionism", "isometric", "low poly", "film grain", "35 mm"),
)


def words(count: int = RARE_WORDS) -> np.ndarray:
    """Distinct words, the most frequent first: ten of English that every prompt has, then made-up ones of two or three syllables."""
    syllables = [first + vowel for first in "bdfgklmnprstvz" for vowel in ("a", "e", "i", "o", "u", "an", "or")]
    found = itertools.chain.from_iterable(itertools.product(syllables, repeat=length) for length in (2, 3))
    made_up = ["".join(parts) for parts in itertools.islice(found, count)]
    return np.array([*["a", "the", "in", "with", "and", "on", "at", "by", "from", "his"], *made_up], dtype=object)


def prompts(count: int, rng: np.random.Generator, vocabulary: np.ndarray) -> list[str]:
    """`count` texts: "SUBJECT of WORD WORD ..., modifier, modifier, ..."."""
    ranks = np.minimum(rng.zipf(1.15, size=(count, 16)), len(vocabulary)) - 1
    subjects = rng.integers(0, len(SUBJECTS), count)
    lengths = rng.integers(6, 17, count)
    # The first modifiers of the list are in a third of all prompts, the last in one of fifty.
    chosen = np.minimum(rng.geometric(0.07, size=(count, 8)), len(MODIFIERS)) - 1
    numbers = rng.integers(2, 9, count)
    rows = zip(subjects, lengths, vocabulary[ranks], chosen, numbers, strict=True)
    return [
        ", ".join([f"{SUBJECTS[subject]} of {' '.join(row[:length])}", *dict.fromkeys(MODIFIERS[item] for item in items[:number])])
        for subject, length, row, items, number in rows
    ]


def batches(rows: int, seed: int = 0) -> Iterator[pa.RecordBatch]:
    """Record batches of SCHEMA, `rows` rows in all."""
    vocabulary = words()
    for start in range(0, rows, BATCH):
        count = min(BATCH, rows - start)
        rng = np.random.default_rng([seed, start])
        fresh = rng.random(count) < UNIQUE
        fresh[0] = True
        texts = prompts(int(fresh.sum()), rng, vocabulary)
        users = rng.integers(0, 10_000, count)
        yield pa.record_batch(
            [
                [f"{uuid.UUID(bytes=rng.bytes(16), version=4)}.png" for _ in range(count)],
                [texts[place] for place in np.cumsum(fresh) - 1],
                np.full(count, start // 1000 + 1, np.uint16),
                rng.integers(0, 2**32, count, np.uint32),
                np.full(count, 50, np.uint16),
                rng.choice([7.0, 7.5, 8.0, 12.0], count).astype(np.float32),
                np.full(count, 8, np.uint8),
                np.full(count, 512, np.uint16),
                rng.choice([512, 768], count).astype(np.uint16),
                [f"{user:064x}" for user in users],
                (1_660_000_000_000_000 + (start + np.arange(count)) * 1_000_000).astype("datetime64[us]"),
                rng.random(count, np.float32),
                (rng.random(count, np.float32) ** 4).astype(np.float32),
            ],
            schema=SCHEMA,
        )


def write(path: Path, rows: int, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(path, SCHEMA, compression="zstd") as writer:
        for batch in batches(rows, seed):
            writer.write_batch(batch)


def main() -> None:
    parser = argparse.ArgumentParser(description="Write generated prompts as parquet in DiffusionDB's schema.")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks/diffusiondb.parquet"))
    options = parser.parse_args()
    write(options.out, options.rows)
    print(f"{options.out}: {options.rows} rows, {options.out.stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
