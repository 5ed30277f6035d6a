"""A VLM server that answers as it is told, to inject faults. It speaks just enough of the OpenAI protocol."""

import json
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = "fake-model"


@dataclass
class Reply:
    """What to answer: a status and a body, after `delay` seconds; or the connection is reset."""

    status: int = 200
    body: str | bytes = ""
    delay: float = 0.0
    reset: bool = False
    content_type: str = "application/json"
    # The server ends at it, and takes all that it has under way with it.
    ends: bool = False
    # Send the body in this many pieces, a tenth of a second apart.
    pieces: int = 1
    headers: dict[str, str] = field(default_factory=dict)


def completion(text: str | None, finish_reason: str = "stop") -> Reply:
    """A chat completion."""
    body = {
        "id": "chat-1",
        "object": "chat.completion",
        "created": 1,
        "model": MODEL,
        "choices": [{"index": 0, "finish_reason": finish_reason, "message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }
    return Reply(body=json.dumps(body))


def error(status: int, message: str = "no") -> Reply:
    """An error as vLLM words it."""
    return Reply(status, json.dumps({"error": {"message": message, "type": "error", "code": status}}))


def answer_well(request: dict[str, Any]) -> Reply:
    """Describe every region that the schema, or the prompt, asks for; asked where things are, say one box."""
    schema = request.get("response_format", {}).get("json_schema", {}).get("schema")
    if schema and schema["type"] == "array":
        return completion(json.dumps([{"bbox_2d": [28, 28, 84, 56], "label": "something"}]))
    if schema:
        return completion(json.dumps({tag: f"what is in {tag}" for tag in schema["required"]}))
    texts = [part["text"] for part in request["messages"][1]["content"] if part["type"] == "text"]
    if len(texts) == 2:
        tag = texts[1].split("close-up of ")[1].split(".")[0]
        return completion(f"{tag}: what is in it")
    regions = int(texts[0].split("There are ")[1].split()[0])
    return completion("\n".join(f"<region{k}>: what is in it" for k in range(1, regions + 1)))


@dataclass
class FakeVlm:
    """`behave` maps (number of the request, from 0; its body) to a Reply. `requests` are the bodies that came."""

    behave: Callable[[int, dict[str, Any]], Reply]
    models: list[str] = field(default_factory=lambda: [MODEL])
    requests: list[dict[str, Any]] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    # Whether it answers in free text whatever the schema, and what it says of its queue: so many wait, or those above
    # so many at once.
    ignores_schemas: bool = False
    waiting: int | None = None
    # So many more answers are ended at once, as vLLM does while it is paused.
    paused: float = 0
    slots: int | None = None
    # What it says of its context, if anything: so many tokens.
    context: int | None = None
    # What else it tells of each of its models, such as the folder that it is served from.
    tells: dict[str, Any] = field(default_factory=dict)
    # How many tokens it says an image has, where it tells; what it was asked for that.
    image_tokens: int | None = None
    tokenized: list[dict[str, Any]] = field(default_factory=list)
    # How it is greeted back by a server that tells probabilities, if it does.
    greets_listening: Callable[[dict[str, Any]], Reply] | None = None
    # What else it tells in its metrics.
    figures: Callable[[], str] = lambda: ""
    # Whether connections are reset, as if nobody listened.
    gone: Callable[[], bool] = lambda: False
    # So many servers take turns behind its address; how often each has ended, and what becomes of what was under way at
    # it then. It is back at once.
    servers: int = 1
    deaths: Counter[int] = field(default_factory=Counter)
    lost: Reply = field(default_factory=lambda: Reply(reset=True))
    # Takes whatever comes, and says nothing, as a process that is stopped.
    hangs: threading.Event = field(default_factory=threading.Event)
    url: str = ""
    _lock: threading.Condition = field(default_factory=threading.Condition)

    def handle(self, body: dict[str, Any]) -> Reply:
        with self._lock:
            paused, self.paused = self.paused > 0, max(0, self.paused - 1)
        if paused:
            return completion("Half a", "abort")
        if is_greeting(body):
            if "top_logprobs" in body and self.greets_listening is not None:
                return self.greets_listening(body)
            return completion("Hello! How can I help?" if self.ignores_schemas else '"structured"')
        with self._lock:
            number = len(self.requests)
            server = number % self.servers
            deaths = self.deaths[server]
            self.requests.append(body)
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            reply = self.behave(number, body)
            with self._lock:
                ended = self._lock.wait_for(lambda: self.deaths[server] > deaths, reply.delay) or reply.ends
                if ended and self.deaths[server] == deaths:
                    self.deaths[server] += 1
                    self._lock.notify_all()
            return self.lost if ended else reply
        finally:
            with self._lock:
                self.in_flight -= 1


def is_greeting(body: dict[str, Any]) -> bool:
    """Whether it is a question that only looks whether the server answers, and how."""
    return "Good morning!" in json.dumps(body["messages"])


@contextmanager
def fake_vlm(behave: Callable[[int, dict[str, Any]], Reply] = lambda _, body: answer_well(body)) -> Iterator[FakeVlm]:
    """Run a fake VLM on a free port of 127.0.0.1."""
    fake = FakeVlm(behave)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path == "/metrics":
                waiting = max(0, fake.in_flight - fake.slots) if fake.slots else fake.waiting
                gauge = f'vllm:num_requests_waiting{{engine="0"}} {waiting}.0\n'
                self._send(Reply(body=fake.figures() + ("" if waiting is None else gauge)))
                return
            listed = [{"id": model, "object": "model", "created": 1, "owned_by": "x"} for model in fake.models]
            if fake.context is not None:
                listed = [entry | {"max_model_len": fake.context} for entry in listed]
            listed = [entry | fake.tells for entry in listed]
            self._send(Reply(body=json.dumps({"object": "list", "data": listed})))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path == "/tokenize":
                fake.tokenized.append(body)
                images = json.dumps(body["messages"]).count('"image_url": {')
                counted = {"count": 100 + images * (fake.image_tokens or 0), "max_model_len": fake.context}
                self._send(error(404) if fake.image_tokens is None else Reply(body=json.dumps(counted)))
                return
            self._send(fake.handle(body))

        def _send(self, reply: Reply) -> None:
            while fake.hangs.is_set():
                time.sleep(0.05)
            if reply.reset or fake.gone():
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                # The last reference to the socket closes it, and so sends the reset.
                self.rfile.close()
                self.wfile.close()
                self.connection.close()
                self.close_connection = True
                return
            data = reply.body.encode() if isinstance(reply.body, str) else reply.body
            self.send_response(reply.status)
            self.send_header("Content-Type", reply.content_type)
            self.send_header("Content-Length", str(len(data)))
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.end_headers()
            size = -(-len(data) // reply.pieces) or 1
            for start in range(0, len(data), size):
                self.wfile.write(data[start : start + size])
                self.wfile.flush()
                if reply.pieces > 1:
                    time.sleep(0.1)

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, *_: Any) -> None:  # clients that give up are part of the tests
            pass

    server = Server(("127.0.0.1", 0), Handler)
    fake.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        fake.hangs.clear()
        server.shutdown()
        server.server_close()


def odd_at_first_image(vlm: FakeVlm) -> list[str]:
    """One row is refused, whichever comes first; returns the list that its image will be in."""
    odd: list[str] = []

    def behave(_: int, body: dict[str, Any]) -> Reply:
        image = body["messages"][1]["content"][0]["image_url"]["url"]
        odd[:] = odd or [image]
        return error(400, "the image is odd") if image == odd[0] else answer_well(body)

    vlm.behave = behave
    return odd
