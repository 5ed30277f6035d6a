"""Stand-ins for servers other than vLLM: what each takes and how it answers, from its documentation or its source.

The model in each is obedient: it follows the schema that its server has understood, and else answers in its own words.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Body = dict[str, Any]


class RefusalError(Exception):
    """What a server does not take: a status and its sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


def openai_error(status: int, sentence: str) -> Any:
    """OpenAI's form, which vLLM, llama.cpp and Ollama have too."""
    return {"error": {"message": sentence, "type": "invalid_request_error", "param": None, "code": status}}


def flat_error(status: int, sentence: str) -> Any:
    """SGLang's and LMDeploy's form."""
    return {"object": "error", "message": sentence, "type": "BadRequestError", "param": None, "code": status}


@dataclass
class StandIn:
    """A server. `schema_of` reads the schema in a request, or raises RefusalError; None where it sees none.

    `metrics` and `models` are None where it has no such page. `form` is the one that should be found, `says` what its
    metrics say: running and waiting. `message` makes the message of a text, `usage` is what it tells of tokens.
    """

    schema_of: Callable[[Body], Body | None]
    form: str | None
    model: str = "a-model"
    error: Callable[[int, str], Any] = openai_error
    refused_status: int = 400
    metrics: str | None = None
    says: tuple[int, int] | None = None
    models: list[str] | None = field(default_factory=lambda: ["a-model"])
    message: Callable[[str], Body] = lambda text: {"role": "assistant", "content": text}
    finish_reason: str = "stop"
    usage: Any = field(default_factory=lambda: {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15})
    choices: int = 1
    token_limit: str = "max_tokens"
    left_out: tuple[str, ...] = ()
    # How many tokens the model thinks before each answer, and whether the server tells thoughts from answers.
    thinks: int = 0
    # Fields that switch thinking off.
    no_thoughts: Body = field(default_factory=lambda: {"chat_template_kwargs": {"enable_thinking": False}})
    key: str = ""
    # The first questions get a 429 each.
    busy: int = 0
    # What it refuses all questions with images for.
    refuses_images: str = ""
    # What it tells at other paths.
    elsewhere: Body = field(default_factory=dict)
    # What it answers everything with, if anything.
    body: str = ""
    requests: list[Body] = field(default_factory=list)
    url: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, body: Body) -> tuple[int, dict[str, str], Any]:
        """Status, headers and body."""
        with self._lock:
            self.requests.append(body)
            busy, self.busy = self.busy, max(0, self.busy - has_images(body))
        if busy and has_images(body):
            headers = {"Retry-After": "1", "x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1s"}
            return 429, headers, self.error(429, "Rate limit reached for a-model on requests per min (RPM): Limit 3")
        try:
            if self.refuses_images and has_images(body):
                raise RefusalError(self.refused_status, self.refuses_images)
            schema = self.schema_of(body)
        except RefusalError as refusal:
            return refusal.status, {}, self.error(refusal.status, str(refusal))
        text = obedient(schema) if schema is not None else own_words(body)
        message, finish_reason = self.message(text), self.finish_reason
        if self.thinks and not all(body.get(name) == value for name, value in self.no_thoughts.items()):
            message, finish_reason = self._after_thoughts(text, int(body[self.token_limit]))
        choice = {"index": 0, "message": message, "finish_reason": finish_reason}
        others = [{**choice, "index": number, "message": self.message("other")} for number in range(1, self.choices)]
        return 200, {}, {"id": "x", "object": "chat.completion", "choices": [choice, *others], "usage": self.usage}

    def _after_thoughts(self, text: str, room: int) -> tuple[Body, str]:
        thought = "Hm. " * min(self.thinks, room)
        if room <= self.thinks:
            return {**self.message(""), "content": None, "reasoning_content": thought}, "length"
        return {**self.message(text), "reasoning_content": thought}, self.finish_reason


def has_images(body: Body) -> bool:
    """Whether it is a question about a row."""
    return "image_url" in json.dumps(body["messages"])


def obedient(schema: Body) -> str:
    """An answer that follows a schema."""
    return json.dumps(_made(schema, "it"))


def _made(schema: Body, name: str) -> Any:
    if "enum" in schema:
        return schema["enum"][0]
    if schema["type"] == "object":
        return {key: _made(inner, key) for key, inner in schema["properties"].items()}
    return f"what is in {name}"


def own_words(body: Body) -> str:
    """What the model says where its server has seen no schema."""
    if not has_images(body):
        return "Good morning! How can I help you today?"
    text = next(part["text"] for part in body["messages"][1]["content"] if part["type"] == "text")
    regions = int(text.split("There are ")[1].split()[0])
    return "\n".join(f"<region{number}>: what is in <region{number}>" for number in range(1, regions + 1))


def _of_openai(body: Body) -> Body | None:
    """`response_format` as https://platform.openai.com/docs/guides/structured-outputs has it."""
    form = body.get("response_format") or {}
    return form["json_schema"]["schema"] if form.get("type") == "json_schema" else None


def _of_llama_cpp(body: Body) -> Body | None:
    """As its README has it: https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md."""
    form = body.get("response_format") or {}
    return form.get("json_schema", {}).get("schema") or form.get("schema") or body.get("json_schema")


def _of_llama_cpp_2024(body: Body) -> Body | None:
    """It fails at what it does not know: https://github.com/ggml-org/llama.cpp, `oaicompat_completion_params_parse`."""
    form = body.get("response_format") or {}
    if form.get("type", "text") not in ("text", "json_object"):
        raise RefusalError(500, f'response_format type must be one of "text" or "json_object", but got: {form["type"]}')
    return form.get("schema")


def _of_lmdeploy(body: Body) -> Body | None:
    """https://lmdeploy.readthedocs.io/en/latest/advance/structed_output.html; the check is its api_server's."""
    if body.get("top_k", 0) < 0:
        raise RefusalError(400, f"The top_k {body['top_k']!r} cannot be a negative integer.")
    return _of_openai(body)


def _of_tgi(body: Body) -> Body | None:
    """https://github.com/huggingface/text-generation-inference/issues/3058, and `router/src/validation.rs`."""
    form = body.get("response_format")
    if form is None:
        return None
    if form["type"] not in ("json", "json_object", "regex"):
        known = "expected one of `json`, `json_object`, `regex`"
        raise RefusalError(422, f"Failed to deserialize the JSON body: unknown variant `{form['type']}`, {known}")
    if "value" not in form:
        raise RefusalError(422, "Failed to deserialize the JSON body: response_format: missing field `value`")
    if "properties" not in form["value"]:
        raise RefusalError(422, "Input validation error: Grammar must have a 'properties' field")
    return form["value"]


def _of_a_hosted_api(body: Body) -> Body | None:
    """A model that OpenAI hosts: https://platform.openai.com/docs/guides/structured-outputs#supported-schemas."""
    known = {
        "model",
        "messages",
        "max_completion_tokens",
        "temperature",
        "top_p",
        "response_format",
        "reasoning_effort",
    }
    if "max_tokens" in body:
        instead = "Use 'max_completion_tokens' instead."
        raise RefusalError(400, f"Unsupported parameter: 'max_tokens' is not supported with this model. {instead}")
    for name in body.keys() - known:
        raise RefusalError(400, f"Unrecognized request argument supplied: {name}")
    schema = _of_openai(body)
    if schema is not None and schema["type"] != "object":
        said = f"schema must be a JSON Schema of 'type: \"object\"', got 'type: \"{schema['type']}\"'."
        raise RefusalError(400, f"Invalid schema for response_format 'regions': {said}")
    return schema


def _of_a_strict_gateway(body: Body) -> Body | None:
    """One that checks bodies with pydantic, and hands on what an old vLLM calls `guided_json`."""
    known = {"model", "messages", "max_tokens", "temperature", "top_p", "top_k", "seed", "guided_json", "stop"}
    extra = [name for name in body if name not in known and name != "response_format"]
    if extra:
        raise RefusalError(422, f"body.{extra[0]}: Extra inputs are not permitted")
    return body.get("guided_json")


def stand_ins() -> dict[str, StandIn]:
    """Each server that was read about."""
    usual = "response_format json_schema"
    return {
        # https://docs.sglang.io/advanced_features/structured_outputs.html, .../references/production_metrics.html;
        # errors: `create_error_response` in python/sglang/srt/entrypoints/openai/utils.py
        "SGLang": StandIn(
            _of_openai, usual, error=flat_error, says=(3, 2),
            metrics='sglang:num_running_reqs{model_name="m"} 3.0\nsglang:num_queue_reqs{model_name="m"} 2.0\n',
            message=lambda text: {"role": "assistant", "content": text, "reasoning_content": None, "tool_calls": None},
        ),
        # tools/server/README.md; the id of a model is its file's path
        "llama.cpp": StandIn(
            _of_llama_cpp, usual, model="../models/q4.gguf", models=["../models/q4.gguf"], says=(1, 2),
            metrics="llamacpp:requests_processing 1\nllamacpp:requests_deferred 2\n",
        ),
        "llama.cpp of 2024": StandIn(_of_llama_cpp_2024, "response_format json_object with schema"),
        # lmdeploy/serve/openai/protocol.py, lmdeploy/metrics/loggers.py
        "LMDeploy": StandIn(
            _of_lmdeploy, usual, error=flat_error, says=(4, 0),
            metrics='lmdeploy:num_requests_running{engine="0"} 4.0\nlmdeploy:num_requests_waiting{engine="0"} 0.0\n',
        ),
        # https://docs.ollama.com/api/openai-compatibility, openai/openai.go; it has no metrics
        "Ollama": StandIn(
            _of_openai, usual, model="qwen2.5vl:7b", models=["qwen2.5vl:7b", "llama3.2:latest"],
            message=lambda text: {"role": "assistant", "content": text, "reasoning": "Hm."},
        ),
        # https://huggingface.co/docs/text-generation-inference: reference/metrics, basic_tutorials/using_guidance
        "TGI": StandIn(
            _of_tgi, "response_format json_object with value", refused_status=422, finish_reason="eos_token",
            says=(5, 6),
            error=lambda status, sentence: {"error": sentence, "error_type": "validation"},
            metrics="tgi_batch_current_size 5\ntgi_queue_size 6\n",
        ),
        # https://platform.openai.com/docs/guides/rate-limits: Retry-After, x-ratelimit-*
        "a hosted API": StandIn(
            _of_a_hosted_api, usual, models=[f"model-{number}" for number in range(90)] + ["a-model"], key="sk-1",
            token_limit="max_completion_tokens", left_out=("seed", "top_k", "repetition_penalty"), busy=1,
            usage={"prompt_tokens": 10, "completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 0}},
            message=lambda text: {"role": "assistant", "content": text, "refusal": None, "annotations": []},
        ),
        "vLLM before 0.12 behind a strict gateway": StandIn(
            _of_a_strict_gateway, "guided_json", left_out=("repetition_penalty",), refused_status=422,
            error=lambda status, sentence: {"detail": [{"loc": ["body"], "msg": sentence, "type": "value_error"}]},
        ),
        "a server that ignores schemas": StandIn(
            lambda body: None, None, usage=None, choices=3,
            message=lambda text: {"role": "assistant", "content": [{"type": "text", "text": text}]},
        ),
    }  # fmt: skip


@contextmanager
def serving(stand_in: StandIn) -> Iterator[StandIn]:
    """Run a stand-in on a free port of 127.0.0.1."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path == "/metrics" and stand_in.metrics is not None:
                self._send(200, {"Content-Type": "text/plain"}, stand_in.metrics.encode())
            elif self.path == "/v1/models" and stand_in.models is not None:
                listed = [{"id": model, "object": "model"} for model in stand_in.models]
                self._send(200, {}, json.dumps({"object": "list", "data": listed}).encode())
            elif self.path in stand_in.elsewhere:
                self._send(200, {}, json.dumps(stand_in.elsewhere[self.path]).encode())
            else:
                self._send(404, {"Content-Type": "text/plain"}, b"404 page not found")

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path != "/v1/chat/completions":
                self._send(404, {"Content-Type": "text/plain"}, b"404 page not found")
            elif stand_in.key and self.headers["Authorization"] != f"Bearer {stand_in.key}":
                self._send(401, {}, json.dumps(openai_error(401, "Incorrect API key provided.")).encode())
            else:
                status, headers, answer = stand_in.answer(body)
                self._send(status, headers, (stand_in.body or json.dumps(answer)).encode())

        def _send(self, status: int, headers: dict[str, str], data: bytes) -> None:
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    stand_in.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield stand_in
    finally:
        server.shutdown()
        server.server_close()
