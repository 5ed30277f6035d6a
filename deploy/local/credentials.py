"""The stack's secrets: generated once, kept in a file that only its owner can read."""

import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from cryptography.fernet import Fernet


@dataclass(frozen=True)
class Credentials:
    """Keys of the bucket, and what Airflow encrypts and signs with."""

    access_key: str
    secret_key: str
    fernet_key: str
    jwt_secret: str
    api_secret: str


def load_or_create(path: Path) -> Credentials:
    """The credentials in `path`; new ones where there are none yet."""
    if path.exists():
        return Credentials(**json.loads(path.read_text()))
    credentials = Credentials(
        access_key=secrets.token_hex(10),
        secret_key=secrets.token_urlsafe(30),
        fernet_key=Fernet.generate_key().decode(),
        jwt_secret=secrets.token_urlsafe(48),
        api_secret=secrets.token_urlsafe(48),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        json.dump(asdict(credentials), stream, indent=2)
    return credentials
