"""A real vLLM answers nobody without its key, and fetches nothing from anywhere on anybody's behalf."""

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import httpx2
import pytest
from PIL import Image

from regioncap.vlm.endpoint import Endpoint


@dataclass
class Elsewhere:
    """An HTTP server that has images, and writes down what it is asked for."""

    url: str = ""
    asked: list[str] = field(default_factory=list)


@contextmanager
def elsewhere() -> Iterator[Elsewhere]:
    there = Elsewhere()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            there.asked.append(self.path)
            self.send_response(302 if self.path == "/moved" else 200)
            if self.path == "/moved":
                self.send_header("Location", f"{there.url}/image.png")
            self.send_header("Content-Type", "image/png")
            self.end_headers()
            if self.path != "/moved":
                self.wfile.write(PNG)

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        there.url = f"http://127.0.0.1:{server.server_port}"
        Thread(target=server.serve_forever, daemon=True).start()
        yield there
        server.shutdown()


def png() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (64, 64), "teal").save(stream, "PNG")
    return stream.getvalue()


PNG = png()


def ask(endpoint: Endpoint, image: str, path: str = "/chat/completions", key: str | None = None) -> httpx2.Response:
    """Ask about the image at a URL; `key` is the endpoint's unless it is given."""
    parts = [{"type": "image_url", "image_url": {"url": image}}, {"type": "text", "text": "What is this?"}]
    body = {"model": endpoint.model, "max_tokens": 4, "messages": [{"role": "user", "content": parts}]}
    key = endpoint.api_key if key is None else key
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx2.post(endpoint.base_urls[0] + path, json=body, headers=headers, timeout=300, trust_env=False)


def data_url() -> str:
    return f"data:image/png;base64,{base64.b64encode(PNG).decode()}"


def test_it_answers_who_has_the_key(demo_vlm: Endpoint) -> None:
    assert demo_vlm.api_key
    assert ask(demo_vlm, data_url()).status_code == 200


@pytest.mark.parametrize("key", ["", "wrong"])
def test_it_answers_nobody_without_the_key(demo_vlm: Endpoint, key: str) -> None:
    assert ask(demo_vlm, data_url(), key=key).status_code == 401
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    assert httpx2.get(f"{demo_vlm.base_urls[0]}/models", headers=headers, trust_env=False).status_code == 401


def test_whether_it_is_there_and_how_busy_needs_no_key(demo_vlm: Endpoint) -> None:
    url = demo_vlm.base_urls[0].removesuffix("/v1")
    assert httpx2.get(f"{url}/health", trust_env=False).status_code == 200
    assert "vllm:num_requests_waiting" in httpx2.get(f"{url}/metrics", trust_env=False).text


# Of the paths that answer questions, vLLM guards only those below /v1 by its key.
@pytest.mark.parametrize("path", ["/chat/completions", "/../invocations"])
@pytest.mark.parametrize("image", ["/image.png", "/moved"])
def test_it_fetches_no_image(demo_vlm: Endpoint, image: str, path: str) -> None:
    with elsewhere() as there:
        for url in (there.url, there.url.replace("127.0.0.1", "localhost"), there.url.replace("http", "HTTP")):
            assert 400 <= ask(demo_vlm, url + image, path).status_code < 500
        assert there.asked == []


def test_it_reads_no_file(demo_vlm: Endpoint) -> None:
    answer = ask(demo_vlm, "file:///etc/hostname")
    assert answer.status_code >= 400 and "Cannot load local files" in answer.text
