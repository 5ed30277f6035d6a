"""Who may see RegionCap's pages, and who may write by them: Airflow's own auth manager says so, of one DAG.

Nobody writes whom another site has sent: a browser's session goes with each request, whoever made it. A form comes
with its own origin and with a token that only the page that has it can know; a program says that it sends JSON, which
another site's page cannot without Airflow's leave.
"""

import hashlib
import hmac
from typing import Annotated
from urllib.parse import parse_qsl, urlsplit

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import get_user, requires_access_dag
from airflow.models import DagModel
from airflow.sdk.configuration import conf
from fastapi import Depends, HTTPException, Request

# Whoever may read this DAG may see what it has published, and who may trigger it may correct that.
DAG_ID = "region_captions"

_LARGEST_FORM = 256 << 10

User = Annotated[BaseUser, Depends(get_user)]

may_read = requires_access_dag("GET", param_dag_id=DAG_ID)
may_trigger = requires_access_dag("POST", DagAccessEntity.RUN, param_dag_id=DAG_ID)


def token_of(user: User) -> str | None:
    """What a form of this user's has to bring; None for one who may not write."""
    details = DagDetails(id=DAG_ID, team_name=DagModel.get_team_name(DAG_ID))
    allowed = get_auth_manager().is_authorized_dag(
        method="POST", access_entity=DagAccessEntity.RUN, details=details, user=user
    )
    return _token(user) if allowed else None


Token = Annotated[str | None, Depends(token_of)]


async def form_of(request: Request, user: User) -> dict[str, str]:
    """The fields of a form of ours. Raises HTTPException where it is none, or another site has sent it."""
    origin = request.headers.get("origin")
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        raise HTTPException(415, "this is no form")
    if origin is None or not _is_ours(origin, request):
        raise HTTPException(403, "this form comes from elsewhere")
    fields = dict(parse_qsl((await _body(request)).decode("utf-8", "replace"), keep_blank_values=True))
    if not hmac.compare_digest(fields.get("token", "").encode(), _token(user).encode()):
        raise HTTPException(403, "this form is another user's, or an old one: go back, and load the page again")
    return fields


async def json_of(request: Request) -> bytes:
    """The JSON that a program sends. Raises HTTPException where it is none, or a browser sends it from elsewhere."""
    origin = request.headers.get("origin")
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise HTTPException(415, "send application/json")
    if origin is not None and not _is_ours(origin, request):
        raise HTTPException(403, "this comes from elsewhere")
    return await _body(request)


Form = Annotated[dict[str, str], Depends(form_of)]
JsonBody = Annotated[bytes, Depends(json_of)]


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > _LARGEST_FORM:
            raise HTTPException(413, "this is too large")
    return bytes(body)


def _is_ours(origin: str, request: Request) -> bool:
    """Whether an origin is Airflow's: as the request names it, or as it is known by behind a proxy."""
    host = urlsplit(origin).netloc
    known = urlsplit(str(conf.get("api", "base_url", fallback=""))).netloc
    return bool(host) and host in (request.headers.get("host"), known)


def _token(user: BaseUser) -> str:
    key = str(conf.get("api", "secret_key")).encode()
    return hmac.new(key, f"regioncap\0{user.get_id()}".encode(), hashlib.sha256).hexdigest()
