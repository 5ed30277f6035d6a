"""What requests are sent to, as it is configured."""

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Protocol, Self
from urllib.parse import urlsplit

from pydantic import ConfigDict

from regioncap.errors import VlmSetupError
from regioncap.regions.served import Served


@dataclass(frozen=True)
class Endpoint:
    """One vLLM server, or several that serve the same model, and how to talk to them.

    `base_urls` end in /v1; `model` is the name that the servers know the model by.
    """

    # A misspelt name in a connection's extra must not pass in silence.
    __pydantic_config__ = ConfigDict(extra="forbid")

    base_urls: tuple[str, ...]
    model: str
    api_key: str = field(default="", repr=False)
    # The bound; how many requests are under way below it is found out: see `pace`.
    max_in_flight: int = 256
    # One request, from sending to the last token; longer where a server turns out to be slow.
    timeout_seconds: float = 300.0
    # How long servers that are away (restarting, overloaded) are waited for.
    patience_seconds: float = 300.0
    # A folder that the servers may read images from (vLLM's --allowed-local-media-path): images in it are named to
    # them instead of sent.
    local_media_path: str = ""

    def __post_init__(self) -> None:
        """Raises VlmSetupError where nothing could be asked so."""
        if not self.model.strip():
            raise VlmSetupError("model: it is empty; give the name that the servers serve")
        for url in self.base_urls:
            if "@" in url.partition("://")[2].partition("/")[0]:
                raise VlmSetupError(
                    "host: there is a login in an address, which would be shown in messages: leave it out, and put the "
                    "server's key into the connection's password"
                )
            if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
                raise VlmSetupError(f"host: {url!r} is no address of a server; write it as http://<server>:8000/v1")
        if self.max_in_flight < 1:
            raise VlmSetupError(f"max_in_flight: it is {self.max_in_flight}, and has to be at least 1")
        for name, least in (("timeout_seconds", 0.001), ("patience_seconds", 0.0)):
            seconds = getattr(self, name)
            if not least <= seconds < math.inf:
                raise VlmSetupError(f"{name}: it is {seconds:g}, and has to be a number of seconds above 0")

    @property
    def served(self) -> Served | None:
        """Only the servers can tell."""
        return None

    @contextmanager
    def open(self) -> Iterator[Self]:
        """It is there already: see `Vlm`."""
        yield self


class Vlm(Protocol):
    """What requests are sent to: an endpoint, or a server that is started when there is something to ask."""

    @property
    def model(self) -> str:
        """The name that requests ask for."""

    @property
    def served(self) -> Served | None:
        """What tells its model from others of the same name, where that is known without asking."""

    def open(self) -> AbstractContextManager[Endpoint]:
        """The endpoint, for as long as the context lasts. Raises VlmSetupError where it cannot be started."""
