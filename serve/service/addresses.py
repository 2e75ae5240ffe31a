"""Addresses of files for clients: documents name files by path on this machine, which a client elsewhere cannot read.

With a token, addresses of pictures carry a signature for that one path, so that a program without the token can show them.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limner.graph.events import Event
from limner.serve.service.documents import DrawnAt, SentEvent

Document = dict[str, Any]


def signature(token: str, path: str) -> str:
    """Returns the signature by which the picture at `path` is served without a token, as to another program's chat window."""
    return hmac.new(token.encode(), path.encode("utf-8", "replace"), hashlib.sha256).hexdigest()


@dataclass(frozen=True)
class Addresses:
    """`token`: the server's, None for none. `base`: put before every address, as in http://host:port; empty for addresses on the same
    server.
    """

    token: str | None
    base: str = ""

    def file(self, run: str, name: str) -> str:
        """Returns the address of a file of a run."""
        return self._signed(f"/v1/runs/{run}/files/{name}")

    def image(self, key: str) -> str:
        """Returns the address of a stored picture, by the hash of its pixels."""
        return self._signed(f"/v1/images/{key}.png")

    def refined(self, document: Mapping[str, Any]) -> Document:
        """Returns the document of `refine` with addresses in place of files."""
        run = document["run"]
        images = {name: [self.file(run, Path(path).name) for path in paths] for name, paths in document["images"].items()}
        return {**document, "images": images, "report": self.file(run, Path(document["report"]).name)}

    def generated(self, document: Mapping[str, Any]) -> Document:
        """Returns the document of `generate` with addresses in place of files."""
        run = document["run"]
        rows = [{**row, "path": self.file(run, Path(row["path"]).name) if row["path"] else None} for row in document["images"]]
        return {**document, "images": rows}

    def optimized(self, document: Mapping[str, Any]) -> Document:
        """Returns the document of `optimize` with an address in place of its report."""
        return {**document, "report": self.file(document["run"], Path(document["report"]).name)}

    def asked(self, payload: Mapping[str, Any]) -> Document:
        """Returns what a conversation waits for, with the addresses of its pictures."""
        images = [{**row, "url": self.image(row["image"])} for row in payload["images"]]
        pair = payload["pair"] and {side: {"image": key, "url": self.image(key)} for side, key in payload["pair"].items()}
        return {**payload, "images": images, "pair": pair}

    def event(self, event: Event) -> SentEvent:
        """Returns the event, with the address of its picture where it has one."""
        if event["kind"] != "drawn":
            return event
        drawn: DrawnAt = {**event}
        if event["image"]:
            drawn["url"] = self.image(event["image"])
        return drawn

    def _signed(self, path: str) -> str:
        return f"{self.base}{path}" + (f"?signature={signature(self.token, path)}" if self.token else "")
