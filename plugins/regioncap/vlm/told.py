"""What tells the model that a server serves from others of the same name, as far as the server tells it.

Not all that is told counts: `created` is the time of asking in vLLM, SGLang and llama.cpp, `permission` has a new id
each time, and `max_model_len` is a setting of the server, which is raised where a question has no room. A version of
the server is another one after each upgrade.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from regioncap.regions.served import Served
from regioncap.vlm.protocol import ServedModel

# Of llama.cpp's `meta`: what is in the file of weights. Another quantization has another size.
_OF_A_FILE = ("n_params", "n_vocab", "n_embd", "size")


def of_list(models: Sequence[ServedModel], name: str) -> Served | None:
    """What a list of models tells of the one of this name; None where it does not have it."""
    found = next((model for model in models if is_named(model.id, name)), None)
    if found is None:
        return None
    # vLLM: where the weights, or those of an adapter, were loaded from, and the model that this one is of.
    told = {"root": found.root, "parent": found.parent}
    base = next((model for model in models if model.id == found.parent), None)
    told["parent.root"] = base.root if base is not None else None
    meta = found.meta if isinstance(found.meta, dict) else {}
    told |= {f"meta.{field}": meta.get(field) for field in _OF_A_FILE}
    return Served(model=_said(told), server=_said({"max_model_len": found.max_model_len}))


def is_whole(served: Served, name: str) -> bool:
    """Whether a list has told more than the name over again, so that nothing else needs to be asked."""
    return any(value != name for value in served.model.values())


def is_named(model: str, name: str) -> bool:
    """Whether it is the model of this name. Some lists have it as models/<model>."""
    return model in (name, f"models/{name}")


def of_answers(answered_as: object, name: str) -> dict[str, str]:
    """What answers tell: hosted APIs say which snapshot stands behind a name at the time (`<name>-2024-08-06`)."""
    is_snapshot = isinstance(answered_as, str) and answered_as != name and answered_as.startswith(name)
    return _said({"answers.model": answered_as}) if is_snapshot else {}


def _fields(*names: str) -> Callable[[Any, str], Mapping[str, object]]:
    return lambda body, _: {name: body.get(name) for name in names} if isinstance(body, dict) else {}


def _entry(where: str, by: str, *names: str) -> Callable[[Any, str], Mapping[str, object]]:
    """The fields of the entry that has the model's name in the field `by`, in the list `where`."""

    def read(body: Any, name: str) -> Mapping[str, object]:
        entries = body.get(where) if isinstance(body, dict) else None
        for entry in entries if isinstance(entries, list) else ():
            if isinstance(entry, dict) and entry.get(by) in (name, f"{name}:latest"):
                return {field: entry.get(field) for field in names}
        return {}

    return read


# Where servers tell more of their model than in that list, and what of it counts. Beside /v1, not below it.
ELSEWHERE: dict[str, Callable[[Any, str], Mapping[str, object]]] = {
    # SGLang (https://docs.sglang.io/basic_usage/native_api.html), by its new and its old name
    "/model_info": _fields("model_path", "weight_version"),
    "/get_model_info": _fields("model_path", "weight_version"),
    # TGI (https://huggingface.co/docs/text-generation-inference/reference/api_reference)
    "/info": _fields("model_id", "model_sha", "model_dtype"),
    # Ollama (https://docs.ollama.com/api/tags)
    "/api/tags": _entry("models", "name", "digest"),
    # LM Studio (https://lmstudio.ai/docs/developer/rest/endpoints)
    "/api/v0/models": _entry("data", "id", "publisher", "compatibility_type", "quantization"),
}


def of_elsewhere(path: str, body: Any, name: str) -> dict[str, str]:
    """What a server tells of the model of this name at one of these paths."""
    return _said(ELSEWHERE[path](body, name))


def _said(told: Mapping[str, object]) -> dict[str, str]:
    """What is told as texts, without what is not."""
    return {field: str(value) for field, value in told.items() if isinstance(value, str | int) and str(value)}
