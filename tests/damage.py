"""What can become of a JSON file that was written whole."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

# What no version of RegionCap can have written.
DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "zeros": lambda data: bytes(len(data)),
    "cut": lambda data: data[: len(data) // 2],
    "not-utf8": lambda data: b"\xff\xfe" + data,
    "not-an-object": lambda data: b"[]",
    "null": lambda data: b"null",
    "other-fields": lambda data: b'{"some": "thing"}',
    "nested": lambda data: b"[" * 100_000,
}


def damage(path: Path, kind: str) -> None:
    """Damage a file."""
    path.write_bytes(DAMAGE[kind](path.read_bytes()))


def change(path: Path, **fields: object) -> None:
    """Write a JSON file anew with some of its fields changed or added, as another version might."""
    path.write_text(json.dumps(json.loads(path.read_bytes()) | fields))


def sign_again(path: Path) -> None:
    """Note in the receipts beside it what is in a file now, as if a step had written it so."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    for receipt in (path.parent / name for name in ("propose.json", "render.json", "validate.json")):
        if receipt.exists():
            said = json.loads(receipt.read_bytes())
            for files in (said["inputs"], said["outputs"]):
                if path.name in files:
                    files[path.name] = digest
            receipt.write_text(json.dumps(said))


def change_lines(path: Path, **fields: object) -> None:
    """The same for each line of a JSONL file."""
    path.write_text("".join(json.dumps(json.loads(text) | fields) + "\n" for text in path.read_bytes().splitlines()))
