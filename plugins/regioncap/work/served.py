"""Of which model the answers of a date are, as its servers tell: each is kept apart from those of another one.

Answers are known by their requests, and in these stands only the name that servers are asked by. So for each salt of
requests (`Plan.ask_again`) a file says what was told of the model whose answers they are. Who asks first writes it, and
nobody changes it: who finds another model served asks nothing. A plan that finds another one takes another salt.

Where nothing is known of answers (those from before servers were asked), they are of what is found first.
"""

import hashlib
import logging
from contextlib import suppress

from pydantic import ValidationError

from regioncap.errors import ConflictError, NotFoundError, OtherModelError
from regioncap.regions.jsonl import canonical
from regioncap.regions.served import Served
from regioncap.storage.readback import unreadable
from regioncap.storage.store import Store
from regioncap.work import layout
from regioncap.work.plan import Plan

_log = logging.getLogger(__name__)

CAPTIONER, JUDGE = "captioner", "judge"

# Between a salt and the key of another model than that whose answers have this salt.
_OF_ANOTHER = "\nmodel="

# Whoever loses the race for a write reads again; nobody loses so often.
_TRIES = 10


def salt_for(work: Store, role: str, model: str, base: str, told: Served | None) -> tuple[str, Served | None]:
    """The salt of a plan's requests, and what is known of the model of this name that they are put to.

    `base` is the salt that they have unless its answers are another model's. `told` is what the servers tell now, None
    where they could not be asked: then it goes by what they told last. `role` tells the judge's answers from captions.
    """
    if told is not None and told.key:
        _tell(work, role, model, told)
    else:
        told = _told_last(work, role, model)
    noted = _read(work, _path(role, model, base))[0]
    if told is None or (noted is not None and noted.differs(told) is None):
        return base, noted or told
    if noted is None:
        return base, _noted(work, _path(role, model, base), told)
    # What this model has answered before counts again.
    first = base.partition(_OF_ANOTHER)[0]
    known = _read(work, _path(role, model, first))[0]
    if known is not None and known.differs(told) is None:
        return first, known
    salt = f"{first}{_OF_ANOTHER}{told.key}"
    return salt, _noted(work, _path(role, model, salt), told)


def check_model(work: Store, plan: Plan, served: Served, *, judge: bool = False) -> None:
    """Make sure that what is served is the model that the plan's answers are of.

    `work` is rooted at the build's date; `judge` where it is the judge's server, and that is another one. Raises
    OtherModelError.
    """
    if not served.key:
        return
    role, model, salt = _answers_of(plan, judge)
    _tell(work, role, model, served)
    noted = _noted(work, _path(role, model, salt), served)
    different = served.differs((plan.judge_served if judge else plan.served) or noted) or served.differs(noted)
    if different is None:
        return
    raise OtherModelError(
        f"the server serves another model as {model!r} than the one whose answers this "
        f"build is made of: {different}. If it is to be built with this one, clear the run's plan task, with those "
        "after it: then it is asked about anew. Else serve the other one again, and clear this task"
    )


def served_for(work: Store, plan: Plan, *, judge: bool = False) -> Served | None:
    """What is known of the model that the plan's answers are of."""
    return (plan.judge_served if judge else plan.served) or _read(work, _path(*_answers_of(plan, judge)))[0]


def _answers_of(plan: Plan, judge: bool) -> tuple[str, str, str]:
    return (JUDGE, plan.judge, plan.listening_again) if judge else (CAPTIONER, plan.model, plan.ask_again)


def _path(role: str, model: str, salt: str | None) -> str:
    return layout.served_path(hashlib.sha256(canonical([role, model, salt])).hexdigest()[:16])


def _told_last(work: Store, role: str, model: str) -> Served | None:
    return _read(work, _path(role, model, None))[0]


def _tell(work: Store, role: str, model: str, served: Served) -> None:
    """Note what was told last, for plans whose worker reaches no server."""
    last = _told_last(work, role, model)
    if last is None or last.model != served.model:
        work.write(_path(role, model, None), served.model_dump_json().encode())


def _read(work: Store, path: str) -> tuple[Served | None, str | None]:
    """What the file says, and its version. One that is damaged says nothing."""
    try:
        # The version is read first: if the file changes in between, `replace` is refused.
        version = work.stat(path).version
        return Served.model_validate_json(work.read(path)), version
    except NotFoundError:
        return None, None
    except ValidationError as error:
        _log.warning("%s", unreadable(f"{work.uri}/{path}", error, "it says nothing of a model"))
        return None, version


def _noted(work: Store, path: str, served: Served) -> Served:
    """What the file says; where it says nothing, this is written."""
    for _ in range(_TRIES):
        noted, version = _read(work, path)
        if noted is not None:
            return noted
        with suppress(ConflictError):
            work.replace(path, served.model_dump_json().encode(), version)
            return served
    raise ConflictError(f"{work.uri}/{path}: other tasks wrote it {_TRIES} times in a row")
