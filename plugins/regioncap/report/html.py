"""What all pages have in common: how text gets into them, and how they look.

Captions, paths and reasons come from models and drops. All of it is escaped, invisible characters are written out, and
a page's content security policy allows no style but the template's own.
"""

import base64
import hashlib
import inspect
from collections.abc import Callable
from typing import Any

import jinja2
from markupsafe import Markup

from regioncap.gates import all_gates
from regioncap.marks.palette import PALETTE, RGB, contrast
from regioncap.regions.codes import Code
from regioncap.report import judged
from regioncap.report.advice import ADVICE
from regioncap.report.shown import excerpt, legible

# Of each text so much is shown; all of it is in the files.
_CAPTION_LENGTH = 500


def _fit(value: Any) -> Any:
    """What a template prints: text of our own as it is, all other text legible; Jinja escapes it then."""
    return legible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def templates(package: str) -> Callable[..., str]:
    """What renders a template of a package, by its name, with the values that it takes.

    Every page begins with `head.html`, has the style of `report.css`, and may use what is in this package. `sources`
    are the directives of the content security policy that allow what a page refers to; by default pictures within it.
    `referrer` says whom a page's address is told: by default nobody.
    """
    loaders = [jinja2.PackageLoader(name, "templates") for name in dict.fromkeys((package, "regioncap.report"))]
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(loaders),
        autoescape=True,
        finalize=_fit,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

    def render(
        template: str,
        *,
        sources: str = "img-src data:; form-action 'none'",
        referrer: str = "no-referrer",
        **values: Any,
    ) -> str:
        style = Markup(environment.get_template("report.css").render(marks=_mark_colours()))
        return environment.get_template(template).render(
            style=style,
            style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
            sources=Markup(sources),
            referrer=referrer,
            mark_of=lambda region: (region - 1) % len(PALETTE) + 1,
            meaning=meaning,
            advice=advice,
            prose=prose,
            percent=percent,
            words=judged,
            cut=lambda text, length=_CAPTION_LENGTH: excerpt(text, length),
            **values,
        )

    return render


def meaning(name: str) -> str:
    """What a code says, or a gate of somebody's own; as a sentence, empty where nobody knows."""
    known = {str(code): f"{code.meaning[0].upper()}{code.meaning[1:]}." for code in Code}
    explained = {str(gate.code): inspect.getdoc(gate.check) or "" for gate in all_gates()}
    return known.get(name) or " ".join(explained.get(name, "").split("\n\n")[0].split())


def advice(name: str) -> str:
    """What to do about a code, as a sentence; empty for a gate of somebody's own."""
    known = {str(code): f"{text[0].upper()}{text[1:]}." for code, text in ADVICE.items()}
    return known.get(name, "")


def prose(text: str) -> Markup:
    """A sentence of our own, with what stands between backticks as code."""
    parts = [
        Markup("<code>{}</code>" if number % 2 else "{}").format(part) for number, part in enumerate(text.split("`"))
    ]
    return Markup("").join(parts)


def percent(part: float, whole: float) -> str:
    """A share for people: `12 %`, `0.4 %`, `< 0.1 %`, `> 99.9 %`."""
    share = 100 * part / whole if whole else 0.0
    if 0 < share < 0.1:
        return "<\u00a00.1\u00a0%"
    if 99.9 < share < 100:
        return ">\u00a099.9\u00a0%"
    return f"{share:.1f}\u00a0%" if 0 < share < 10 or 99 < share < 100 else f"{share:.0f}\u00a0%"


def _mark_colours() -> list[tuple[str, str]]:
    """Of each mark, its colour and that of text on it."""
    return [(_css(colour), _css(contrast(colour))) for colour in PALETTE]


def _css(colour: RGB) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)
