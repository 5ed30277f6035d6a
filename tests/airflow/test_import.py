"""Airflow loads the plugin into all of its processes, where other teams' tasks run too."""

import subprocess
import sys

from tests.builders import ROOT

# Prints the names of what the import of the plugin changed. Libraries that it imports are there before, since what
# they do when they are imported is theirs.
SCRIPT = """
import logging, os, signal, sys, warnings
import airflow.plugins_manager, airflow.providers.standard.operators.hitl, airflow.sdk
import boto3, cv2, jinja2, numpy, pandas, pi_heif, pyarrow.parquet, pydantic, requests
from PIL import AvifImagePlugin, GifImagePlugin, Image, ImageCms, ImageDraw, ImageFile, ImageFont, PngImagePlugin
from PIL import TiffImagePlugin

if sys.argv[1] == "initialised":
    Image.init()

def simple(module):
    return {name: value for name, value in vars(module).items() if isinstance(value, (bool, int, float, str, tuple))}

def state():
    return {
        **{f"{module.__name__}.{name}": value for module in (Image, ImageFile, PngImagePlugin, TiffImagePlugin,
           GifImagePlugin, AvifImagePlugin, pi_heif.options) for name, value in simple(module).items()},
        "formats": [sorted(names) for names in (Image.OPEN, Image.SAVE, Image.ID, Image.EXTENSION, Image.MIME)],
        "openers": {form: tuple(map(id, opener)) for form, opener in Image.OPEN.items()},
        "blocks": (Image.core.get_blocks_max(), Image.core.get_block_size(), Image.core.get_alignment()),
        "OpenCV": (cv2.getNumThreads(), cv2.useOptimized(), cv2.ocl.useOpenCL()),
        "warnings": list(warnings.filters),
        "logging": (logging.root.level, list(logging.root.handlers), list(logging.root.filters),
                    logging.root.manager.disable, *(logging.getLogger(name).level for name in ("PIL", "airflow"))),
        "environment": dict(os.environ),
        "signals": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "path": list(sys.path),
        "hooks": (sys.excepthook, sys.unraisablehook, sys.getrecursionlimit(), sys.getswitchinterval()),
        "directory": (os.getcwd(), os.umask(0o022)),
    }

before = state()
import regioncap.airflow.plugin
after = state()
assert "regioncap.steps.render" in sys.modules and "regioncap.drop.images" in sys.modules
print(sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name)))
"""


def changed(argument: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, argument], cwd=ROOT / "plugins", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_importing_the_plugin_changes_nothing_in_airflows_processes() -> None:
    assert changed("fresh") == "[]"


def test_nor_where_pillow_is_in_use_already() -> None:
    assert changed("initialised") == "[]"
