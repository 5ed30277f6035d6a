"""What tells the model that a server serves from others of the same name, as its list of models has it.

Not all that is there: `created` is the time of asking in vLLM and llama.cpp, `permission` has a new id each time, and
`max_model_len` is a setting of the server, which is raised where a question has no room.
"""

from collections.abc import Mapping, Sequence

from regioncap.regions.served import Served
from regioncap.vlm.protocol import ServedModel

# Of llama.cpp's `meta`: what is in the file of weights. Another quantization has another size.
_OF_A_FILE = ("n_params", "n_vocab", "n_embd", "size")


def of_list(models: Sequence[ServedModel], name: str) -> Served | None:
    """What a list tells of the model of this name; None where it does not have it."""
    found = next((model for model in models if is_named(model, name)), None)
    if found is None:
        return None
    # vLLM and SGLang: where the weights, or those of an adapter, were loaded from, and the model that this one is of.
    told = {"root": found.root, "parent": found.parent}
    base = next((model for model in models if model.id == found.parent), None)
    told["parent.root"] = base.root if base is not None else None
    meta = found.meta if isinstance(found.meta, dict) else {}
    told |= {f"meta.{field}": meta.get(field) for field in _OF_A_FILE}
    return Served(model=_said(told), server=_said({"max_model_len": found.max_model_len}))


def is_named(model: ServedModel, name: str) -> bool:
    """Whether it is the model of this name. Some lists have it as models/<model>."""
    return model.id in (name, f"models/{name}")


def _said(told: Mapping[str, object]) -> dict[str, str]:
    """What is told as texts, without what is not."""
    return {field: str(value) for field, value in told.items() if isinstance(value, str | int) and str(value)}
