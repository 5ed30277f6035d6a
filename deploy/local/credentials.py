"""The stack's secrets: generated once, kept in a file that only its owner can read."""

import json
import secrets
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from cryptography.fernet import Fernet


@dataclass(frozen=True)
class Credentials:
    """Keys of the bucket and of vLLM, and what Airflow encrypts and signs with."""

    access_key: str
    secret_key: str
    fernet_key: str
    jwt_secret: str
    api_secret: str
    vlm_key: str


def load_or_create(path: Path) -> Credentials:
    """The credentials in `path`; new ones for what is not there yet."""
    there = json.loads(path.read_text()) if path.exists() else {}
    credentials = Credentials(**{**asdict(_fresh()), **there})
    if asdict(credentials) != there:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A new file in its place, so that nobody else ever reads it, nor half of it.
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as stream:
            json.dump(asdict(credentials), stream, indent=2)
        Path(stream.name).replace(path)
    return credentials


def _fresh() -> Credentials:
    return Credentials(
        access_key=secrets.token_hex(10),
        secret_key=secrets.token_urlsafe(30),
        fernet_key=Fernet.generate_key().decode(),
        jwt_secret=secrets.token_urlsafe(48),
        api_secret=secrets.token_urlsafe(48),
        vlm_key=secrets.token_urlsafe(32),
    )
