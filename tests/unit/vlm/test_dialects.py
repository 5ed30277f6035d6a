"""How requests are written for servers that want them otherwise, and what is learnt from a refusal."""

from typing import Any

import pytest

from regioncap.vlm.dialects import FORMS, USUAL_FORM, Dialect
from regioncap.vlm.requests import as_schema

SCHEMA = {"type": "object", "properties": {"<region1>": {"type": "string"}}}
BODY: dict[str, Any] = {"model": "m", "messages": [], "max_tokens": 5, "top_k": 40, "seed": 1, **as_schema(SCHEMA)}


def test_the_usual_dialect_changes_nothing() -> None:
    assert Dialect().written(BODY) == BODY


@pytest.mark.parametrize("form", [form for form in FORMS if form != USUAL_FORM])
def test_each_form_holds_the_schema_and_nothing_of_another(form: str) -> None:
    written = Dialect(form).written(BODY)
    plain = {name: value for name, value in BODY.items() if name != "response_format"}
    assert written == {**plain, **FORMS[form](SCHEMA)}
    assert BODY["response_format"]["type"] == "json_schema", "the request itself stays as it is"


def test_a_request_without_a_schema_gets_none() -> None:
    plain = {"model": "m", "max_tokens": 5}
    assert all(Dialect(form).written(plain) == plain for form in (*FORMS, None))


def test_where_schemas_are_ignored_the_usual_one_is_sent_all_the_same() -> None:
    assert Dialect(None).written(BODY) == BODY


def test_fields_are_renamed_and_left_out() -> None:
    written = Dialect(token_limit="max_completion_tokens", left_out=("top_k",)).written(BODY)
    assert written["max_completion_tokens"] == 5 and not written.keys() & {"max_tokens", "top_k"}


RENAMED = Dialect(token_limit="max_completion_tokens")


@pytest.mark.parametrize(
    ("refusal", "dialect"),
    [
        # OpenAI
        ("Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
         RENAMED),
        ("Unrecognized request argument supplied: top_k", Dialect(left_out=("top_k",))),
        ("Unknown parameter: 'seed'.", Dialect(left_out=("seed",))),
        # Google
        ('Invalid JSON payload received. Unknown name "top_k": Cannot find field.', Dialect(left_out=("top_k",))),
        # pydantic, and a gateway before it
        ("body.top_k: Extra inputs are not permitted; body.seed: Extra inputs are not permitted",
         Dialect(left_out=("top_k", "seed"))),
        ("property 'seed' is unsupported", Dialect(left_out=("seed",))),
        # LMDeploy
        ("The top_k `-1` cannot be a negative integer.", Dialect(left_out=("top_k",))),
        # of something else
        ("'max_tokens' or 'max_completion_tokens' is too large: 5. The maximum context length is 4.", None),
        ("Unsupported parameter: 'response_format'", None),
        ("Unknown parameter: 'my_top_k'", None),
        ("seed must be at least 2", None),
        ("", None),
    ],
)  # fmt: skip
def test_a_refusal_says_what_a_server_does_not_take(refusal: str, dialect: Dialect | None) -> None:
    assert Dialect().without(refusal, BODY) == dialect


def test_what_is_not_sent_is_not_left_out_once_more() -> None:
    dialect = Dialect(left_out=("top_k",))
    assert dialect.without("Unrecognized request argument supplied: top_k", dialect.written(BODY)) is None
