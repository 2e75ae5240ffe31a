"""Prints what the meaning filter's encoders accept on the labelled substitutions.

python -m limner.tools.solvers.dpo_diff.calibrate [--checkpoint miniature]
"""

from __future__ import annotations

import argparse

from limner.tools.solvers.dpo_diff.meaning import Encoder, calibrated, minilm, own_clip, sentence_t5, words_alone


def main() -> None:
    """Runs the command line: prints the calibration of every available encoder."""
    parser = argparse.ArgumentParser(description="thresholds, acceptance and recall of the meaning filter's encoders")
    parser.add_argument("--checkpoint", default="miniature", help="whose CLIP is tried")
    given = parser.parse_args()
    for encoder in encoders(given.checkpoint):
        print(f"{encoder.name}{' with senses' if encoder.with_senses else ''}: {calibrated(encoder)}")


def encoders(checkpoint: str) -> list[Encoder]:
    """Returns the available encoders, the preferred first; the checkpoint's CLIP also without the sense check, to show that
    check's effect.
    """
    from dataclasses import replace

    from limner.tools.diffusion.checkpoint import open_checkpoint
    from limner.tools.scoring.registry import open_scorer

    opened = open_checkpoint(checkpoint)
    scorers = [open_scorer(name, opened) for name, entry in opened.card.scorers.items() if entry["kind"] == "clip"]
    own = own_clip(scorers)
    found = [sentence_t5(), minilm(), own, replace(own, with_senses=False) if own else None, words_alone()]
    return [encoder for encoder in found if encoder is not None]


if __name__ == "__main__":
    main()
