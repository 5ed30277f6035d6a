"""The embedded stack's secrets and folders are their owner's alone."""

import fcntl
import json
import os
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.docker import certificate
from deploy.local.credentials import load_or_create
from deploy.local.stack import run_stack
from regioncap.errors import ServiceError


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def readable_by_others(path: Path) -> bool:
    """Whether another user reads it; where we cannot become one, whether its mode lets them."""
    if os.geteuid() != 0:
        return all(mode(part) & 0o005 for part in (path, path.parent))
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    return subprocess.run([*nobody, "cat", path], capture_output=True).returncode == 0


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder with a file that everybody may read, as an earlier version left it."""
    # pytest's own folders are closed to others anyway.
    with tempfile.TemporaryDirectory() as room:
        state = Path(room, "state")
        state.mkdir()
        (state / "airflow.db").write_text("a key")
        for path in (Path(room), state, state / "airflow.db"):
            path.chmod(0o755)
        yield state


def test_a_stack_closes_its_folder_to_others_also_one_that_was_open(open_folder: Path) -> None:
    assert readable_by_others(open_folder / "airflow.db")
    with (open_folder / "stack.lock").open("w") as lock:
        # It looks after its folder before anything else; here it gets no further.
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ServiceError, match="another stack runs"), run_stack(print, open_folder):
            pass
    assert mode(open_folder) == 0o700
    assert not readable_by_others(open_folder / "airflow.db")


def test_credentials_are_made_once_and_for_their_owner(tmp_path: Path) -> None:
    path = tmp_path / "new" / "credentials.json"
    made = load_or_create(path)
    assert load_or_create(path) == made
    assert mode(path) == 0o600
    assert all(vars(made).values())


def test_credentials_of_an_earlier_version_get_what_they_lack_and_keep_what_they_have(tmp_path: Path) -> None:
    path = tmp_path / "credentials.json"
    kept = {name: value for name, value in vars(load_or_create(path)).items() if name != "vlm_key"}
    path.write_text(json.dumps(kept))
    path.chmod(0o644)
    made = load_or_create(path)
    assert kept.items() <= vars(made).items() and made.vlm_key
    assert load_or_create(path) == made
    assert mode(path) == 0o600


def test_a_certificate_is_made_once_and_for_its_owner(tmp_path: Path) -> None:
    certificate.write(tmp_path / "security", "127.0.0.1")
    made = {path: path.read_bytes() for path in (tmp_path / "security").iterdir()}
    certificate.write(tmp_path / "security", "127.0.0.1")
    assert {path: path.read_bytes() for path in made} == made
    assert len(made) == 3 and {mode(path) for path in made} == {0o600}
