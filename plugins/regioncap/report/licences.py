"""What is known of the licences of models: it may bind whoever uses what they wrote.

Add a family by adding a line to `_FAMILIES`.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Licence:
    """A model's licence. `note` says what it means for a dataset, as a sentence."""

    name: str
    note: str


UNKNOWN = Licence(
    "unknown: look it up", "RegionCap does not know this model. Its licence may say what its captions may be used for."
)
_APACHE = Licence("Apache-2.0", "It puts no conditions on what the model writes.")
_QWEN_RESEARCH = Licence(
    "Qwen Research License",
    "It is for research and evaluation only, not for commercial use. A model that is trained on these captions and "
    'given to others has to say "Built with Qwen" or "Improved using Qwen".',
)

# Who publishes the models, how their names start, in lower case, and their licence.
_FAMILIES: tuple[tuple[str, str, Licence], ...] = (
    ("qwen", "qwen2.5-vl-3b-", _QWEN_RESEARCH),
    ("qwen", "qwen2.5-vl-7b-", _APACHE),
    ("qwen", "qwen3-vl-", _APACHE),
    ("huggingfacetb", "smolvlm", _APACHE),
    # The model in include/demo_model, by the name that the embedded stack serves it under.
    ("", "regioncap-demo", _APACHE),
)


def licence_of(model: str) -> Licence:
    """The licence of a model by the name that it is served under: `Qwen/Qwen3-VL-8B-Instruct`, with or without owner.

    A name of somebody else's (`me/Qwen3-VL-8B-mine`) is not known: who trains on may choose another licence.
    """
    owner, _, name = model.lower().rpartition("/")
    for family_owner, start, licence in _FAMILIES:
        if owner in ("", family_owner) and name.startswith(start):
            return licence
    return UNKNOWN
