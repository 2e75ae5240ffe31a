"""An image model behind an OpenAI-style images endpoint: a black box that draws from text, as `--checkpoint openai:NAME` names it.

Every answer is untrusted: bounded in size and time, and a picture only where it decodes as one. Transport errors and overload are repeated
with backoff; a prompt that the server refuses is a drawing that came to nothing, and the search goes on. Knows nothing of searches.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from PIL import Image

from limner.promptdb.errors import BadInput, ImagesAway
from limner.promptdb.records import Drawing, SamplerSettings, content_id
from limner.tools.diffusion.base import Drawn

PREFIX = "openai:"
OPENAI_URL = "https://api.openai.com/v1"
NOMINAL = SamplerSettings(scheduler="the server's", steps=20, width=512, height=512)
"""What a picture of a black box counts as: one image equivalent of 20 guided steps."""

LONGEST_PROMPT = 1000  # of the endpoint, in tokens of about four characters
LARGEST = 40 * 2**20  # bytes of an answer
CHUNK = 65536
TIMEOUT = 120.0
FIRST_WAIT, LONGEST_WAIT, LONGEST_RETRY_AFTER = 0.5, 8.0, 120.0
OPTIONAL = ("response_format", "seed", "negative_prompt")
"""Fields that some servers do not know; one that is refused by name is left out from then on."""


class Refused(Exception):
    """The server will not draw this prompt."""


@dataclass(frozen=True, slots=True)
class RemoteSettings:
    """`timeout`: seconds for a whole answer; `retries`: repeats of a request after a passing error. The key appears in no message."""

    model: str
    url: str = OPENAI_URL
    key: str = ""
    size: tuple[int, int] = (512, 512)
    timeout: float = TIMEOUT
    retries: int = 3

    def __repr__(self) -> str:
        return f"RemoteSettings({self.model!r}, {self.url!r})"

    @classmethod
    def from_env(cls, name: str, env: Mapping[str, str]) -> RemoteSettings:
        """`name`: after the prefix. Reads LIMNER_IMAGES_BASE_URL (else OPENAI_BASE_URL), OPENAI_API_KEY, LIMNER_IMAGES_SIZE and
        LIMNER_IMAGES_TIMEOUT. Raises BadInput naming what makes no sense."""
        if not name.strip():
            raise BadInput(f"{PREFIX} needs the name of an image model, as in {PREFIX}gpt-image-1")
        url = (env.get("LIMNER_IMAGES_BASE_URL", "").strip() or env.get("OPENAI_BASE_URL", "").strip() or OPENAI_URL).rstrip("/")
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise BadInput(f"the address of the images endpoint must begin with http:// or https://, not {url!r} (LIMNER_IMAGES_BASE_URL)")
        size = re.fullmatch(r"(\d{2,4})x(\d{2,4})", env.get("LIMNER_IMAGES_SIZE", "").strip() or "512x512")
        if size is None:
            raise BadInput("LIMNER_IMAGES_SIZE must be WIDTHxHEIGHT in pixels, as in 512x512")
        try:
            timeout = float(env.get("LIMNER_IMAGES_TIMEOUT", "").strip() or TIMEOUT)
        except ValueError as error:
            raise BadInput("LIMNER_IMAGES_TIMEOUT must be a number of seconds") from error
        if not 0 < timeout < 1e5:
            raise BadInput("LIMNER_IMAGES_TIMEOUT must be a positive number of seconds")
        return cls(name.strip(), url, env.get("OPENAI_API_KEY", "").strip(), (int(size[1]), int(size[2])), timeout)


class RemoteImages:
    """An ImageModel over HTTP. Seeds are sent where the server takes them; where it does not, equal seeds mean nothing.

    `check` is called before every request and may raise. `sleep` is the clock's; tests hand in their own.
    """

    def __init__(
        self, settings: RemoteSettings, check: Callable[[], None] = lambda: None, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.settings = settings
        self.name = PREFIX + settings.model
        self.fingerprint = content_id(["remote images", settings.url, settings.model])
        self.default_settings = SamplerSettings(NOMINAL.scheduler, NOMINAL.steps, NOMINAL.guidance_scale, *settings.size, dtype="float32")
        self._check = check
        self._sleep = sleep
        self._unknown: set[str] = set()

    def token_count(self, text: str) -> tuple[int, int]:
        """About four characters a token, as no tokenizer is known."""
        return -(-len(text) // 4), LONGEST_PROMPT

    def unet_rows(self, drawings: Sequence[Drawing]) -> int:
        return sum(drawing.settings.unet_rows for drawing in {drawing.id: drawing for drawing in drawings}.values())

    def check(self, drawings: Sequence[Drawing]) -> None:
        """Whether all can be asked for. Raises BadInput for the first with ranges, weights or an adapter: an endpoint takes plain words."""
        for drawing in drawings:
            asked = drawing.conditioning
            if asked.spans or asked.negative_spans or asked.adapter:
                raise BadInput(f"{self.name} takes plain words alone, without ranges, weights or adapters: {asked.text[:60]!r}")

    def draw(self, drawings: Sequence[Drawing], on_drawn: Callable[[Drawn], None] | None = None) -> list[Drawn]:
        """One request a picture. Raises ImagesAway, and BadInput for what only a person can mend (key, name, address)."""
        self.check(drawings)
        done: dict[str, Drawn] = {}
        for drawing in drawings:
            if drawing.id not in done:
                self._check()
                done[drawing.id] = Drawn(drawing, self._picture(drawing), 1, self.name)
                if on_drawn:
                    on_drawn(done[drawing.id])
        return [done[drawing.id] for drawing in drawings]

    def _picture(self, drawing: Drawing) -> Image.Image | None:
        """None where the server refuses the prompt."""
        wait, reason = FIRST_WAIT, ""
        for attempt in range(self.settings.retries + 1):
            if attempt:
                self._sleep(wait)
                self._check()
                wait = min(2 * wait, LONGEST_WAIT)
            try:
                return self._image(self._ask(drawing))
            except Refused:
                return None
            except BadInput:
                raise
            except urllib.error.HTTPError as error:
                reason, asked = f"status {error.code}", _asked_wait(error.headers.get("Retry-After"))
                if asked is not None:
                    if asked > LONGEST_RETRY_AFTER:
                        break
                    wait = asked
            except (OSError, ValueError) as error:  # away, cut off, too slow, or no picture in the answer
                reason = str(error) or type(error).__name__
        raise ImagesAway(
            f"{self.name} at {self.settings.url} gave no picture after {self.settings.retries + 1} requests ({reason[:120]}); what was "
            "drawn before is kept"
        )

    def _ask(self, drawing: Drawing) -> Any:
        """The answer to one request, and to the same without a field that the server does not know."""
        while True:
            body = self._body(drawing)
            try:
                return json.loads(self._post(body))
            except urllib.error.HTTPError as error:
                said = _limited(error, 4096).decode("utf-8", "replace")
                if error.code in (400, 422):
                    unknown = next((name for name in OPTIONAL if name in body and name in said), "")
                    if unknown == "negative_prompt":
                        raise BadInput(f"{self.name} takes no negative prompt: search with --space synonym") from None
                    if unknown:
                        self._unknown.add(unknown)
                        continue
                    raise Refused(said) from None
                raise self._mendable(error.code) or error from None

    def _body(self, drawing: Drawing) -> dict[str, Any]:
        width, height = drawing.settings.width, drawing.settings.height
        body: dict[str, Any] = {"model": self.settings.model, "prompt": drawing.conditioning.text, "n": 1, "size": f"{width}x{height}"}
        optional: dict[str, Any] = {"response_format": "b64_json", "seed": drawing.seed}
        if drawing.conditioning.negative:
            optional["negative_prompt"] = drawing.conditioning.negative
        return body | {name: value for name, value in optional.items() if name not in self._unknown}

    def _mendable(self, code: int) -> BadInput | None:
        """What a person can mend. The server's own words are left out: they may quote the key."""
        where = f"the images endpoint at {self.settings.url}"
        known = {
            401: f"{where} {'refused the key' if self.settings.key else 'wants a key'} (status 401): set OPENAI_API_KEY to a valid one",
            403: f"{where} forbids {self.settings.model!r} to this key (status 403): check OPENAI_API_KEY and --checkpoint",
            404: f"{where} knows no model {self.settings.model!r} (status 404): check --checkpoint and LIMNER_IMAGES_BASE_URL",
        }
        return BadInput(known[code]) if code in known else None

    def _post(self, body: Mapping[str, Any]) -> bytes:
        headers = {"Content-Type": "application/json"}
        if self.settings.key:
            headers["Authorization"] = f"Bearer {self.settings.key}"
        request = urllib.request.Request(f"{self.settings.url}/images/generations", json.dumps(body).encode(), headers)
        return self._read(request)

    def _read(self, request: urllib.request.Request) -> bytes:
        deadline = time.monotonic() + self.settings.timeout
        with _OPENER.open(request, timeout=self.settings.timeout) as response:
            parts, size = [], 0
            while part := response.read1(CHUNK):
                size += len(part)
                parts.append(part)
                if size > LARGEST:
                    raise ValueError(f"the answer is larger than {LARGEST} bytes")
                if time.monotonic() > deadline:
                    raise TimeoutError(f"the answer took longer than {self.settings.timeout:g} seconds")
        return b"".join(parts)

    def _image(self, document: Any) -> Image.Image:
        """The first picture of an answer. Raises ValueError where there is none."""
        try:
            entry = document["data"][0]
            coded, url = entry.get("b64_json"), entry.get("url")
            content = base64.b64decode(coded, validate=True) if coded else self._fetched(url)
            picture = Image.open(io.BytesIO(content))
            picture.load()
        except (LookupError, TypeError, AttributeError, binascii.Error, Image.DecompressionBombError, SyntaxError) as error:
            raise ValueError(f"the answer holds no picture ({type(error).__name__})") from error
        return picture.convert("RGB")

    def _fetched(self, url: object) -> bytes:
        """A picture that the answer only names. Only over HTTP, and without the key."""
        if not isinstance(url, str) or urlsplit(url).scheme not in ("http", "https"):
            raise ValueError("the answer holds no picture")
        return self._read(urllib.request.Request(url))


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A key must not follow a server to another one."""

    def redirect_request(self, *arguments: Any, **named: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirects)


def _limited(error: urllib.error.HTTPError, count: int) -> bytes:
    try:
        return error.read(count)
    except OSError:
        return b""


def _asked_wait(header: str | None) -> float | None:
    try:
        return None if header is None else max(0.0, float(header))
    except ValueError:
        return None
