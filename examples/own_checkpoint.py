"""Refines a prompt for a checkpoint of your own: a folder in diffusers' format, or a hub id.

    python examples/own_checkpoint.py ./my-sd15 "a lighthouse in a storm"

Without arguments the embedded checkpoint is used.
"""

from __future__ import annotations

import sys

import limner


def main(checkpoint: str = "miniature", prompt: str = "a red car on a beach") -> None:
    refined = limner.refine(prompt, checkpoint=checkpoint, method="rewrite", budget=24, variants=3, heldout_seeds=4)
    print(refined)
    for name, row in refined.scores.items():
        print(f"{name}: {row.before:.3f} -> {row.after:.3f}, 95 % interval of the difference {row.ci95}")
    print("the prompt to use:", refined.text)
    print("pictures before and after, with all evidence:", refined.report)


if __name__ == "__main__":
    main(*sys.argv[1:])
