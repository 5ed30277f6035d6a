"""Where things are in a checkout. Everything that the stack writes is below `.local/`, which git ignores."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STATE = ROOT / ".local"
LOGS = STATE / "logs"
DAGS = ROOT / "dags"
INCLUDE = ROOT / "include"
POOLS = INCLUDE / "pools.json"
DEMO_MODEL = INCLUDE / "demo_model"
AIRFLOW_BIN = ROOT / ".venv" / "bin"
VLLM_PYTHON = ROOT / ".venv-vllm" / "bin" / "python"


def make_private(folder: Path) -> None:
    """Make a folder that nobody but its owner looks into, also where it is there already."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
