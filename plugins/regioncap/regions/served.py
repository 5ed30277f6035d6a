"""What a server tells of the model that it serves, beyond the name by which it is asked for."""

import hashlib

from pydantic import BaseModel, ConfigDict, Field

from regioncap.regions.jsonl import canonical


class Served(BaseModel):
    """What is told of a model, by the names of the server's fields.

    `model` is what stays the same for as long as the same model is served, and is another for another one: where it was
    loaded from, say. `server` is only noted: its version and its context may change, and answers stay what they are.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, json_schema_extra={"additionalProperties": False})

    model: dict[str, str] = Field(
        default_factory=dict,
        description="What tells the model from others that are served under the same name.",
        examples=[{"root": "/models/qwen2.5-vl-7b-awq"}],
    )
    server: dict[str, str] = Field(
        default_factory=dict,
        description="What else the server tells of itself. It makes no other build.",
        examples=[{"version": "0.32.0", "max_model_len": "4096"}],
    )

    @property
    def key(self) -> str:
        """A short hash of what tells the model from others; empty where nothing does."""
        return hashlib.sha256(canonical(self.model)).hexdigest()[:16] if self.model else ""

    def differs(self, before: "Served") -> str | None:
        """What is another than it was before, in words; None where it is the same, as far as both are told."""
        changed = [
            f"{name} is {_shown(self.model[name])} instead of {_shown(before.model[name])}"
            for name in sorted(self.model.keys() & before.model.keys())
            if self.model[name] != before.model[name]
        ]
        return ", ".join(changed) or None


def known_by(digest: str, *served: Served | None) -> str:
    """A hash of settings and code together with the models that are told of, the captioner's and the judge's.

    The digest itself where nothing is told: so it was before servers were asked.
    """
    told = [one.key if one else "" for one in served]
    return hashlib.sha256(canonical([digest, *told])).hexdigest() if any(told) else digest


def _shown(text: str) -> str:
    """A server's words in a message: in a line, and not too long."""
    return repr(text if len(text) <= 200 else f"{text[:200]}...")
