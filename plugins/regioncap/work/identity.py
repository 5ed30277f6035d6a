"""What a build is made by: settings, model, code, installed extensions. Where it differs, a date is built anew."""

import ast
import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import regioncap
from regioncap.config.settings import BuildSettings
from regioncap.drop.detectors import DETECTORS
from regioncap.drop.readers import READERS
from regioncap.errors import StepMissingError
from regioncap.extend import Registry
from regioncap.gates import GATES
from regioncap.marks.profiles import PROFILES
from regioncap.marks.styles import STYLES
from regioncap.regions.jsonl import canonical
from regioncap.trust.scorers import SCORERS
from regioncap.work.plan import Plan

# The modules and rooms that decide what is published: which rows and boxes are used, what the model sees and is asked,
# how its answers are read and judged, what a record says. Not here: how fast something goes, where it is kept, how the
# report looks.
DECIDING = (
    "ask/attempts.py", "ask/listening.py", "ask/requests.py", "captions", "drop", "gates", "marks", "regions",
    "steps/judge.py", "steps/propose.py", "steps/render.py", "steps/validate.py", "trust/alike.py", "trust/answers.py",
    "trust/planted.py", "trust/questions.py", "trust/scorers.py", "trust/scores.py", "vlm/requests.py",
    "warehouse/corrections.py",
)  # fmt: skip

_PACKAGE = Path(str(regioncap.__file__)).parent


def identity_of(settings: BuildSettings, model: str, corrections: str = "", judge_model: str = "") -> str:
    """A hash over everything that shapes a build but the drop; `model` is the VLM's name.

    `corrections` is a hash of what people have corrected, empty where they have not; `judge_model` names another model
    where captions are judged by one.
    """
    models = [model, judge_model] if judge_model else model
    corrected = [corrections] if corrections else []
    return hashlib.sha256(
        canonical([settings.identity(), models, code_hash(), _added(settings), *corrected])
    ).hexdigest()


def deciding_code(settings: BuildSettings) -> str:
    """A hash over all code that has a say in a build with these settings, RegionCap's own and installed extensions'."""
    return hashlib.sha256(canonical([code_hash(), _added(settings)])).hexdigest()


def check_code(plan: Plan) -> None:
    """Raise StepMissingError where this code decides otherwise than that by which the plan was made.

    While workers are replaced by those of another version, one by one, each task would else be done by either, and the
    build be known as one that neither of them makes.
    """
    # Plans from before it was noted are gone on with.
    if plan.code and plan.code != deciding_code(plan.settings):
        raise StepMissingError(
            "the plan was made by a worker with other code than this one's (another version of RegionCap, of an "
            "installed extension, or of Python): bring all workers to one version, then clear the run's plan task, "
            "with those after it; every answer is taken over"
        )


def _added(settings: BuildSettings) -> list[list[str]]:
    return [
        [*registry.version(name), hash_of_sources(registry.source(name))] for registry, name in extensions(settings)
    ]


@cache
def code_hash() -> str:
    """A hash over the deciding code of RegionCap, whatever its comments, docstrings and line breaks."""
    places = (_PACKAGE / name for name in DECIDING)
    return hash_of_sources(path for place in places for path in (sorted(place.rglob("*.py")) or [place]))


def hash_of_sources(paths: Iterable[Path]) -> str:
    """A hash over Python files by what they do: their names count, comments, docstrings and line breaks do not."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.name}\0{_without_words(path.read_text(encoding='utf-8'))}\0".encode())
    return digest.hexdigest()


def _without_words(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        # Text by itself, a docstring mostly, does nothing.
        if isinstance(body, list):
            node.body = [part for part in body if not _is_text(part)] or [ast.Pass()]  # type: ignore[attr-defined]
    return ast.unparse(tree)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def extensions(settings: BuildSettings) -> list[tuple[Registry[Any], str]]:
    """What installed packages add and has a say in the build: all gates, and of the other kinds the one in use."""
    used: list[tuple[Registry[Any], str]] = [
        (DETECTORS, settings.when_no_boxes),
        (READERS, settings.input_format),
        (STYLES, settings.mark_style),
        (PROFILES, settings.model_profile),
        (SCORERS, settings.judge_by),
    ]
    return [
        *((GATES, name) for name in GATES.added),
        *((registry, name) for registry, name in used if name in registry.added),
    ]
