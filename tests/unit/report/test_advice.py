"""What to do about each code."""

import re

from regioncap.config.settings import BuildSettings
from regioncap.regions.codes import Code
from regioncap.report.advice import ADVICE
from regioncap.report.schemas import fields_page


def test_every_code_has_advice_in_the_docs() -> None:
    assert set(ADVICE) == set(Code)
    assert all(f"| `{code}` | " in fields_page() and ADVICE[code] in fields_page() for code in Code)


def test_params_that_advice_names_are_there() -> None:
    named = {word for text in ADVICE.values() for word in re.findall(r"`([a-z]+_[a-z_]+)`", text)}
    assert named - {"per_region", "shift_jis"} <= set(BuildSettings.model_fields)
