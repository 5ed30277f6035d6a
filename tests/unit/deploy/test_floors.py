"""The oldest vLLM that is asked for has no known hole, and is the same wherever it is named."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_the_oldest_vllm_is_named_alike_everywhere() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (floor,) = [asked.removeprefix("vllm>=") for asked in extras["vllm"] if asked.startswith("vllm>=")]
    # Up to it, clients could run code, end the engine, and get other weights than a pinned revision.
    assert tuple(map(int, floor.split("."))) >= (0, 32)
    assert f"'vllm>={floor}'" in (ROOT / "README.md").read_text()
    assert f"run vLLM there ({floor} or later" in (ROOT / "docs" / "deployment.md").read_text()
    named = set(re.findall(r"vllm>=([\d.]+)", "".join(path.read_text() for path in (ROOT / "docs").glob("*.md"))))
    assert named <= {floor}
