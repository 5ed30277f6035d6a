"""Writes `.env` for docker-compose.yaml: `.env.example` with fresh secrets.

An `.env` that is there stays as it is, but for secrets that it lacks: an earlier version did not have all of them.

python3 deploy/docker/dotenv.py

Any Python 3 will do: the machine that runs the containers needs nothing of RegionCap's.
"""

import base64
import os
import re
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / ".env.example"

# Without a GPU, vLLM serves the demo model.
WITHOUT_GPU = {"COMPOSE_PROFILES": "cpu,bucket", "REGIONCAP_VLM_MODEL": "regioncap-demo"}


def fresh_secrets() -> dict[str, str]:
    """New values for what `.env.example` leaves empty. None needs quoting, in a file or in a URL."""
    return {
        "REGIONCAP_ADMIN_PASSWORD": secrets.token_urlsafe(12),
        "REGIONCAP_S3_ACCESS_KEY": secrets.token_hex(10),
        "REGIONCAP_S3_SECRET_KEY": secrets.token_urlsafe(30),
        "REGIONCAP_POSTGRES_PASSWORD": secrets.token_urlsafe(24),
        "REGIONCAP_VALKEY_PASSWORD": secrets.token_urlsafe(24),
        "REGIONCAP_VLM_API_KEY": secrets.token_urlsafe(32),
        "REGIONCAP_FERNET_KEY": base64.urlsafe_b64encode(os.urandom(32)).decode(),
        "REGIONCAP_JWT_SECRET": secrets.token_urlsafe(48),
        "REGIONCAP_API_SECRET": secrets.token_urlsafe(48),
    }


def filled_in(example: str, values: Mapping[str, str]) -> str:
    """The example with these values in place of its own. Raises KeyError for a name that the example does not have."""
    for name, value in values.items():
        line = f"{name}={value}"
        example, found = re.subn(rf"^{name}=.*$", lambda _, line=line: line, example, flags=re.MULTILINE)  # type: ignore[misc]
        if not found:
            raise KeyError(name)
    return example


def write(path: Path, values: Mapping[str, str]) -> None:
    """Write an environment file that only its owner can read. Raises FileExistsError where there is one."""
    text = filled_in(EXAMPLE.read_text(encoding="utf-8"), {**fresh_secrets(), **values})
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
        stream.write(text)


def complete(path: Path) -> list[str]:
    """Fill in the secrets that an environment file leaves empty or does not know yet. Returns their names."""
    text = path.read_text(encoding="utf-8")
    lacking = {
        name: value
        for name, value in fresh_secrets().items()
        if not re.search(rf"^{name}=[ \t]*\S", text, flags=re.MULTILINE)
    }
    if lacking:
        for name in lacking:
            if not re.search(rf"^{name}=", text, flags=re.MULTILINE):
                text += f"{name}=\n" if text.endswith("\n") else f"\n{name}=\n"
        # Beside it and then in its place: half a file would lose what it held.
        new = path.with_name(f"{path.name}.new")
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as stream:
            stream.write(filled_in(text, lacking))
        new.replace(path)
    path.chmod(0o600)
    return sorted(lacking)


def main() -> None:
    """Write `.env` if there is none, for a GPU if there is one."""
    path = ROOT / ".env"
    if path.exists():
        if made := complete(path):
            print(f"filled in {path}: {', '.join(made)}")
        return
    gpu = shutil.which("nvidia-smi") is not None
    write(path, {} if gpu else WITHOUT_GPU)
    print(f"wrote {path}: " + ("vLLM on the GPU" if gpu else "no GPU found, so vLLM on the CPU with the demo model"))


if __name__ == "__main__":
    main()
