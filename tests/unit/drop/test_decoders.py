"""Decoding in processes that can be killed: what hangs or ends one costs its image alone."""

import ctypes
import io
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pytest
from PIL import Image

from regioncap.drop import decoders as decoders_module
from regioncap.drop import decoding as jobs
from regioncap.drop.decoder import Result, decoding, needs
from regioncap.drop.decoders import Decoders
from regioncap.drop.decoding import Marking, View
from regioncap.drop.images import Picture, open_image
from regioncap.errors import NoRegionError, RowError, ServiceError
from regioncap.parallel import in_order
from regioncap.regions.codes import Code
from tests.builders import ROOT, encoded, picture
from tests.slow_files import slow_jpeg

GOOD = encoded(picture())


# ---- jobs, which a process finds here


def size(picture: Picture) -> Result:
    return [picture.width, picture.height], (b"behind it", b"")


def pid(picture: Picture) -> Result:
    return os.getpid(), ()


def environment(picture: Picture) -> Result:
    # Not only what Python has made of it.
    given = Path("/proc/self/environ").read_bytes().decode().split("\0")
    return [sorted(os.environ), given], ()


def crash(picture: Picture) -> Result:
    ctypes.string_at(0)
    raise AssertionError


def killed_once(picture: Picture, mark: str) -> Result:
    """Killed from outside, as where memory is short, but for the second time."""
    if not Path(mark).exists():
        Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "done", ()


def hang(picture: Picture, mark: str) -> Result:
    """In C, and nothing else of Python runs meanwhile."""
    Path(mark).write_text(str(os.getpid()))
    re.match(r"(a+)+$", "a" * 60 + "b")
    raise AssertionError


def sleep(picture: Picture) -> Result:
    time.sleep(600)
    raise AssertionError


def take_memory(picture: Picture, megabytes: int, of_decoding: bool) -> Result:
    if of_decoding:
        with decoding():
            return len(bytearray(megabytes << 20)), ()
    return len(bytearray(megabytes << 20)), ()


def leave(picture: Picture) -> Result:
    sys.exit("gone")


def recurse(picture: Picture) -> Result:
    return recurse(picture)


def no_region(picture: Picture) -> Result:
    raise NoRegionError(Code.OUTSIDE, "no box", (3, 4), 6)


def use_network(picture: Picture) -> Result:
    socket.create_connection(("127.0.0.1", 9)).close()
    raise AssertionError


def disk_fails(picture: Picture) -> Result:
    raise OSError(5, "Input/output error")


def fault_of(decoders: Decoders, data: bytes, job: Any, *arguments: Any) -> tuple[str, str]:
    with pytest.raises(RowError) as error:
        decoders.run(data, job, *arguments)
    return error.value.code, error.value.reason


def test_what_a_job_returns_comes_back(tmp_path: Path) -> None:
    with Decoders() as decoders:
        assert decoders.run(GOOD, size) == ([120, 80], [b"behind it", b""])


def test_a_process_decodes_one_image_after_the_other() -> None:
    with Decoders() as decoders:
        first = decoders.run(GOOD, pid)
        assert fault_of(decoders, b"no image", pid)[0] == Code.IMAGE_UNREADABLE
        assert decoders.run(GOOD, pid) == first != os.getpid()


def test_an_image_that_kills_its_decoder_costs_itself_alone() -> None:
    with Decoders() as decoders:
        code, reason = fault_of(decoders, GOOD, crash)
        assert code == Code.IMAGE_CRASHED and "SIGSEGV" in reason
        assert decoders.run(GOOD, size)[0] == [120, 80]


def test_a_decoder_that_was_killed_by_somebody_else_is_started_again(tmp_path: Path) -> None:
    with Decoders() as decoders:
        assert decoders.run(GOOD, killed_once, str(tmp_path / "mark"))[0] == "done"


def test_a_small_image_that_takes_long_is_given_up() -> None:
    with Decoders() as decoders:
        code, reason = fault_of(decoders, slow_jpeg(), size_when_decoded)
        assert code == Code.IMAGE_TOO_SLOW and "seconds" in reason  # of a core, or on a busy machine of a clock
        assert decoders.run(GOOD, size)[0] == [120, 80]


def size_when_decoded(picture: Picture) -> Result:
    return picture.decode().size, ()


def test_an_image_whose_decoder_waits_for_ever_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoders_module, "_PATIENCE", 0.2)
    with Decoders() as decoders:
        assert fault_of(decoders, GOOD, sleep)[0] == Code.IMAGE_TOO_SLOW


def test_a_small_image_gets_little_memory() -> None:
    with Decoders() as decoders:
        assert decoders.run(GOOD, take_memory, 100, True)[0] == 100 << 20
        assert fault_of(decoders, GOOD, take_memory, 600, True)[0] == Code.IMAGE_TOO_LARGE
        code, reason = fault_of(decoders, GOOD, take_memory, 600, False)
        assert code == Code.INTERNAL_ERROR and reason.startswith("MemoryError")
        assert decoders.run(GOOD, take_memory, 100, True)[0] == 100 << 20


def test_a_large_image_gets_more_memory_but_no_more_than_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    large = encoded(Image.new("L", (8000, 5000)), "PNG")
    monkeypatch.setattr(decoders_module, "free_memory", lambda: 8 << 30)
    with Decoders() as decoders:
        assert decoders.run(large, take_memory, 600, True)[0] == 600 << 20
    monkeypatch.setattr(decoders_module, "free_memory", lambda: 600 << 20)
    with Decoders() as decoders:
        assert fault_of(decoders, large, take_memory, 600, True)[0] == Code.IMAGE_TOO_LARGE


@pytest.mark.parametrize("job", [leave, recurse, disk_fails])
def test_whatever_a_job_raises_is_an_error_of_its_image(job: Any) -> None:
    with Decoders() as decoders:
        code, reason = fault_of(decoders, GOOD, job)
        assert code == Code.INTERNAL_ERROR and "test_decoders.py:" in reason
        assert decoders.run(GOOD, size)[0] == [120, 80]


def test_why_no_box_can_be_used_comes_back_whole() -> None:
    with Decoders() as decoders, pytest.raises(NoRegionError) as error:
        decoders.run(GOOD, no_region)
    assert (error.value.code, error.value.size, error.value.orientation) == (Code.OUTSIDE, (3, 4), 6)


def test_a_decoder_knows_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    monkeypatch.setattr(sys, "path", [*sys.path, "another"])  # so that a new one is started
    with Decoders() as decoders:
        names, given = decoders.run(GOOD, environment)[0]
    assert "AWS_SECRET_ACCESS_KEY" not in names and "hidden" not in str(given)
    assert "PATH" in names


def test_a_decoder_reaches_no_network() -> None:
    with socket.create_server(("127.0.0.1", 0)), Decoders() as decoders:
        code, reason = fault_of(decoders, GOOD, use_network)
    assert code == Code.INTERNAL_ERROR and "PermissionError" in reason


def test_a_decoder_does_not_outlive_a_task_that_is_killed(tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    task = f"""
import sys
from regioncap.drop.decoders import Decoders
from regioncap.drop.decoding import Marking, View
from tests.unit.drop.test_decoders import GOOD, hang, pid
with Decoders() as decoders:
    decoders.run(GOOD, hang, {str(mark)!r})
"""
    killed = subprocess.Popen(
        [sys.executable, "-c", task], env={**os.environ, "PYTHONPATH": f"{ROOT / 'plugins'}:{ROOT}"}
    )
    wait_until(lambda: mark.exists() and mark.read_text() != "")
    decoder = psutil.Process(int(mark.read_text()))
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert decoder.wait(120) is None  # it is no child of this process, so how it ended is not known


def wait_until(condition: Any) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def test_a_step_that_is_ended_waits_for_no_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoders_module, "_PATIENCE", 1e6)  # without an interrupt, it would not end

    def one(number: int) -> Any:
        return decoders.run(GOOD, size if number == 0 else sleep)[0]

    with Decoders() as decoders, pytest.raises(KeyboardInterrupt):
        for _ in in_order(one, range(4), 2, interrupt=decoders.interrupt):
            raise KeyboardInterrupt


def test_a_decoder_that_cannot_be_started_is_no_fault_of_an_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoders_module, "python", lambda *_: [sys.executable, "-c", "raise SystemExit(3)"])
    monkeypatch.setattr(sys, "path", [*sys.path, "another"])
    with Decoders() as decoders, pytest.raises(ServiceError, match="ended by itself, with 3"):
        decoders.run(GOOD, size)


def test_images_that_need_all_memory_follow_each_other() -> None:
    budget = decoders_module._Budget(1 << 30)
    under_way, most = 0, 0
    lock = threading.Lock()

    def hold(size: int) -> None:
        nonlocal under_way, most
        with budget.of(size):
            with lock:
                under_way += size
                most = max(most, under_way)
            time.sleep(0.01)
            with lock:
                under_way -= size

    threads = [threading.Thread(target=hold, args=(size << 20,)) for size in (1024, 256, 256, 700, 256, 1024, 300)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 700 << 20 <= most <= budget.total


def test_what_a_picture_may_take_goes_by_its_pixels() -> None:
    def of(image: Image.Image, form: str, **options: Any) -> Any:
        return needs(open_image(encoded(image, form, **options)))

    small = of(Image.new("RGB", (2000, 2000)), "JPEG")
    plain = of(Image.new("RGB", (4000, 3000)), "JPEG")
    progressive = of(Image.new("RGB", (4000, 3000)), "JPEG", progressive=True)
    other = of(Image.new("I;16", (4000, 3000)), "PNG")
    assert small.memory < plain.memory < progressive.memory < other.memory
    assert small.seconds < plain.seconds == other.seconds


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
@pytest.mark.parametrize("size", [(2000, 1990), (4000, 3000)])
def test_what_a_picture_may_take_is_enough(form: str, size: tuple[int, int]) -> None:
    image = Image.radial_gradient("L").resize(size).convert("RGB")
    with Decoders() as decoders:
        assert decoders.run(encoded(image, form), size_when_decoded)[0] == list(size)


def test_a_connection_that_closes_is_noticed_in_the_middle_of_a_message() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"\x01\0\0\0" + (1000).to_bytes(8, "little") + b"only this")
        theirs.close()
        with pytest.raises(EOFError):
            decoders_module.receive(ours)


def test_a_slow_jpeg_is_one_that_pillow_decodes() -> None:
    """It is the time alone that is wrong with it."""
    assert Image.open(io.BytesIO(slow_jpeg(scans=3))).convert("RGB").size == (2000, 1500)


@pytest.mark.parametrize(
    ("profile", "max_pixels", "size"),
    [
        ("smolvlm", 1_003_520, (1, 1)),
        ("smolvlm", 1_003_520, (400, 400)),
        ("llava-onevision", 1_003_520, (400, 300)),
        ("llava-onevision", 1_003_520, (1990, 1990)),
        ("qwen2.5-vl", 3584 * 3584, (1990, 1990)),
        ("generic", 3584 * 3584, (3500, 3500)),
    ],
)
def test_what_an_image_is_made_into_has_the_memory_that_it_takes_also_in_a_new_process(
    monkeypatch: pytest.MonkeyPatch, profile: str, max_pixels: int, size: tuple[int, int]
) -> None:
    monkeypatch.setattr(decoders_module, "_idle", decoders_module._Idle())
    how = Marking(View(profile, max_pixels), "box", "xywh", "displayed", 10, True, None, unmarked=True)
    with Decoders() as decoders:
        told, jpegs = decoders.run(encoded(picture(*size)), jobs.marked, [[0, 0, *size]], how)
    assert (told["width"], told["height"]) == size
    assert len(jpegs) == 3
    decoders_module._idle.end()


def opencv_out_of_memory(picture: Picture) -> Result:
    with decoding():
        cv2.copyMakeBorder(np.zeros((1, 1), np.uint8), 0, 1 << 16, 0, 1 << 16, cv2.BORDER_REPLICATE)
    raise AssertionError


def test_opencv_without_memory_is_as_any_other_want_of_it() -> None:
    with Decoders() as decoders, pytest.raises(RowError) as error:
        decoders.run(GOOD, opencv_out_of_memory)
    assert error.value.code == Code.IMAGE_TOO_LARGE
