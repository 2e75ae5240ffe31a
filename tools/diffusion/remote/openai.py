"""An image model behind an OpenAI-style images endpoint: a black box that draws from text, named by `--checkpoint openai:NAME`.

Answers are not trusted: they are bounded in size and time, and must decode as a picture. Transport errors and overload are repeated with
backoff; a prompt that the server refuses is a drawing without a picture, and the search continues. Knows nothing of searches.
"""

from __future__ import annotations

import base64
import binascii
import io
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from PIL import Image

from limner.promptdb.errors import BadInput, ImagesAway
from limner.promptdb.records import Drawing, SamplerSettings, content_id
from limner.tools.diffusion.base import CancelToken, Drawn, Hooks
from limner.tools.http_client import Failed, TooMuch, bounded_client, discreet, repeated

PREFIX = "openai:"
OPENAI_URL = "https://api.openai.com/v1"
NOMINAL = SamplerSettings(scheduler="the server's", steps=20, width=512, height=512)
"""Settings by which a picture of a black box is counted: one image equivalent of 20 guided steps."""

LONGEST_PROMPT = 1000  # of the endpoint, in tokens of about four characters
LARGEST = 40 * 2**20  # bytes of an answer
TIMEOUT = 120.0
OPTIONAL = ("response_format", "seed", "negative_prompt")
"""Fields that some servers do not know; one that is refused by name is not sent again."""


@dataclass(frozen=True, slots=True)
class RemoteSettings:
    """Where and how to ask. `timeout`: seconds for a whole answer. `retries`: repeats of a request after a passing error. The key appears
    in no message.
    """

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
        """Reads LIMNER_IMAGES_BASE_URL (else OPENAI_BASE_URL), OPENAI_API_KEY, LIMNER_IMAGES_SIZE and LIMNER_IMAGES_TIMEOUT.

        `name`: the model's, without the prefix. Raises BadInput that names an invalid value.
        """
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
    """An ImageModel over HTTP. Seeds are sent where the server takes them; elsewhere equal seeds mean nothing.

    `sleep`: waits that many seconds; tests replace it.
    """

    def __init__(self, settings: RemoteSettings, sleep: Callable[[float], None] = time.sleep) -> None:
        self.settings = settings
        self.name = PREFIX + settings.model
        self.fingerprint = content_id(["remote images", settings.url, settings.model])
        self.default_settings = SamplerSettings(NOMINAL.scheduler, NOMINAL.steps, NOMINAL.guidance_scale, *settings.size, dtype="float32")
        self._sleep = sleep
        self._unknown: set[str] = set()
        self._opened: Any = None
        self._http: Any = None

    def token_count(self, text: str) -> tuple[int, int]:
        """Returns an estimate of about four characters a token, as no tokenizer is known, and the limit."""
        return -(-len(text) // 4), LONGEST_PROMPT

    @property
    def most_windows(self) -> int:
        """Returns 1: an endpoint refuses what is over its limit."""
        return 1

    def unet_rows(self, drawings: Sequence[Drawing]) -> int:
        """Returns the nominal UNet rows of the distinct drawings."""
        return sum(drawing.settings.unet_rows for drawing in {drawing.id: drawing for drawing in drawings}.values())

    def check(self, drawings: Sequence[Drawing]) -> None:
        """Raises BadInput for the first drawing with ranges, weights or an adapter: an endpoint takes plain words."""
        for drawing in drawings:
            asked = drawing.conditioning
            if asked.spans or asked.negative_spans or asked.adapter:
                raise BadInput(f"{self.name} takes plain words alone, without ranges, weights or adapters: {asked.text[:60]!r}")

    def draw(
        self,
        drawings: Sequence[Drawing],
        on_drawn: Callable[[Drawn], None] | None = None,
        *,
        cancel: CancelToken | None = None,
        hooks: Hooks | None = None,
    ) -> list[Drawn]:
        """Draws with one request a picture. Raises ImagesAway, what `cancel` raises, and BadInput for hooks and for a wrong key, name or
        address.
        """
        if hooks is not None:
            raise BadInput(f"{self.name} draws behind a server, where nothing can take part in the denoising")
        self.check(drawings)
        done: dict[str, Drawn] = {}
        for drawing in drawings:
            if drawing.id not in done:
                done[drawing.id] = Drawn(drawing, self._picture(drawing, cancel), 1, self.name)
                if on_drawn:
                    on_drawn(done[drawing.id])
        return [done[drawing.id] for drawing in drawings]

    def _picture(self, drawing: Drawing, cancel: CancelToken | None) -> Image.Image | None:
        """The picture; None where the server refuses the prompt."""

        def attempt(number: int) -> Image.Image | None:
            if cancel:
                cancel.check()
            return self._asked(drawing)

        try:
            return repeated(attempt, self.settings.retries + 1, self._sleep)
        except Failed as error:
            reason, where = discreet(error.reason, self.settings.key)[:120], f"{self.name} at {self.settings.url}"
            raise ImagesAway(f"{where} gave no picture after {error.requests} requests ({reason}); what was drawn before is kept") from None

    def _asked(self, drawing: Drawing) -> Image.Image | None:
        """The picture of one answer, asked for again without a field that the server does not know; None where it refuses the prompt."""
        import openai

        while True:
            body = self._body(drawing)
            try:
                return self._image(self._client().images.generate(**body))
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                said = error.response.text
                unknown = next((name for name in OPTIONAL if name in said and name not in self._unknown), "")
                if unknown == "negative_prompt":
                    raise BadInput(f"{self.name} takes no negative prompt: search with --space synonym") from None
                if not unknown:
                    return None
                self._unknown.add(unknown)
            except TooMuch as error:
                raise ValueError(str(error)) from None
            except openai.APIStatusError as error:
                raise self._mendable(error.status_code) or error from None

    def _client(self) -> Any:
        import openai

        if self._opened is None:
            settings = self.settings
            # No redirects: a key must not follow a server to another one.
            self._http = bounded_client(settings.timeout, settings.timeout, LARGEST, follow_redirects=False)
            self._opened = openai.OpenAI(base_url=settings.url, api_key=settings.key or "none", http_client=self._http, max_retries=0)
        return self._opened

    def _body(self, drawing: Drawing) -> dict[str, Any]:
        width, height = drawing.settings.width, drawing.settings.height
        optional: dict[str, Any] = {"seed": drawing.seed}
        if drawing.conditioning.negative:
            optional["negative_prompt"] = drawing.conditioning.negative
        body: dict[str, Any] = {"model": self.settings.model, "prompt": drawing.conditioning.text, "n": 1, "size": f"{width}x{height}"}
        if "response_format" not in self._unknown:
            body["response_format"] = "b64_json"
        return {**body, "extra_body": {name: value for name, value in optional.items() if name not in self._unknown}}

    def _mendable(self, code: int) -> BadInput | None:
        """The error for a status that a person can act on. The server's own words are left out: they may quote the key."""
        where = f"the images endpoint at {self.settings.url}"
        known = {
            401: f"{where} {'refused the key' if self.settings.key else 'wants a key'} (status 401): set OPENAI_API_KEY to a valid one",
            403: f"{where} forbids {self.settings.model!r} to this key (status 403): check OPENAI_API_KEY and --checkpoint",
            404: f"{where} knows no model {self.settings.model!r} (status 404): check --checkpoint and LIMNER_IMAGES_BASE_URL",
        }
        return BadInput(known[code]) if code in known else None

    def _image(self, answer: Any) -> Image.Image:
        """The first picture of an answer. Raises ValueError where there is none."""
        try:
            entry = answer.data[0]
            content = base64.b64decode(entry.b64_json, validate=True) if entry.b64_json else self._fetched(entry.url)
            picture = Image.open(io.BytesIO(content))
            picture.load()
        except (LookupError, TypeError, AttributeError, binascii.Error, Image.DecompressionBombError, SyntaxError, OSError) as error:
            raise ValueError(f"the answer holds no picture ({type(error).__name__})") from error
        return picture.convert("RGB")

    def _fetched(self, url: object) -> bytes:
        """Downloads a picture that the answer gives as an address, over HTTP only and without the key."""
        if not isinstance(url, str) or urlsplit(url).scheme not in ("http", "https"):
            raise ValueError("the answer holds no picture")
        return bytes(self._http.get(url).raise_for_status().content)
