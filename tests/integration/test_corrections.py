"""Corrections in real buckets: of writers at once none loses a line, whatever is killed, rebuilt or rolled back."""

import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deploy.local.credentials import Credentials
from regioncap.errors import CorrectionConflictError
from regioncap.storage.s3 import S3Store
from regioncap.warehouse import journal
from regioncap.warehouse.corrections import Correction, about_region, correct, corrections_of
from tests.fake_vlm import fake_vlm
from tests.integration.correcting import ApiServer, Edits, Person, World, Writer

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def said(by: str, number: int, box: int) -> Correction:
    about = about_region("a" * 64, [box, 1, 5, 5], "en")
    return Correction(at="2026-10-05T10:00:00+00:00", by=by, action="edit", about=about, caption=f"{by} {number}")


@pytest.mark.parametrize("lines_in_a_file", [500, 7])
def test_writers_at_once_lose_nothing(
    service: "S3Client", monkeypatch: pytest.MonkeyPatch, lines_in_a_file: int
) -> None:
    monkeypatch.setattr(journal, "FILE_LINES", lines_in_a_file)
    partition = S3Store(service, "warehouse", f"corrections/{uuid.uuid4().hex}/dt=2026-10-05")

    def write(by: str) -> None:
        seen = 0
        for number in range(10):
            while True:
                try:
                    correct(corrections_of(partition), [said(by, number, number % 3)], seen)
                    break
                except CorrectionConflictError:
                    seen = len(corrections_of(partition).lines())

    with ThreadPoolExecutor(3) as writers:
        list(writers.map(write, ("ann", "ben", "cat")))
    lines = corrections_of(partition).lines()
    assert [line.number for line in lines] == list(range(1, 31))
    assert set(Counter(line.caption for line in lines).values()) == {1}


def test_none_is_lost_doubled_or_asked_again_whoever_is_killed(
    s3_port: int, credentials: Credentials, tmp_path: Path
) -> None:
    """Two people, builds, other settings, a roll-back; writers and publishers that are killed."""
    date, known = "2026-10-05", Edits()
    with fake_vlm() as vlm:
        world = World(s3_port, credentials, f"corrections/{uuid.uuid4().hex}", vlm, tmp_path, [date], rows=4)
        assert world.build(date) == 4
        people = [Writer(world, date, by, 8, known, tmp_path) for by in ("ann", "ben")]
        with ThreadPoolExecutor(2) as at_once:
            writing = [at_once.submit(person.run) for person in people]
            world.other_settings()
            world.build(date, kill=True)
            world.roll_back(date)
            for each in writing:
                each.result()
        known.check([world.journal(date)])
        unsettled = world.unsettled(date)
        world.other_settings()
        assert world.build(date) == unsettled > 0
        assert world.rolled_back == 1


@pytest.mark.prove
@pytest.mark.timeout(3600)
def test_two_hundred_edits_on_the_pages_while_everything_is_killed(
    s3_port: int, credentials: Credentials, tmp_path: Path
) -> None:
    """As above, but people write on the pages of a real api-server of Airflow, which is killed again and again."""
    dates, known = ["2026-10-05", "2026-10-06"], Edits()
    with fake_vlm() as vlm, ExitStack() as stack:
        prefix = f"corrections/{uuid.uuid4().hex}"
        world = World(s3_port, credentials, prefix, vlm, tmp_path, dates, rows=20)
        for date in dates:
            assert world.build(date) == 20
        server = stack.enter_context(ApiServer(s3_port, credentials, prefix, tmp_path / "airflow", ("ann", "ben")))
        people = [Person(server, world, by, 100, known) for by in ("ann", "ben")]
        with ThreadPoolExecutor(3) as at_once:
            writing = [at_once.submit(person.run) for person in people]
            killing = at_once.submit(server.kill_until, lambda: all(each.done() for each in writing), known)
            # As long as somebody writes, and often enough for all that can happen.
            while not all(each.done() for each in writing) or world.builds < 14:
                for date in dates:
                    world.build(date, kill=True)
                    if world.builds % 3 == 0:
                        world.other_settings()
                    if world.builds % 4 == 0:
                        world.roll_back(date)
                        # What was withdrawn is not published again as it was.
                        world.other_settings()
            for each in (*writing, killing):
                each.result()
        journals = [world.journal(date) for date in dates]
        known.check(journals)
        # What the pages say is what is in the bucket.
        assert [people[0].lines(date) for date in dates] == [len(lines) for lines in journals]
        # A backfill over the dates: other settings, and about what people have corrected nothing is asked.
        world.other_settings()
        unsettled = [world.unsettled(date) for date in dates]
        assert [world.build(date) for date in dates] == unsettled
        assert [world.build(date) for date in dates] == [0, 0]
        print(
            f"{len(known.entered)} edits entered, {len(known.unknown)} of which nobody knows, "
            f"{sum(map(len, journals))} lines; {sum(person.conflicts for person in people)} conflicts told; "
            f"api-server killed {server.killed} times, {world.killed} builds killed ({world.killed_in_publish} while "
            f"they published), {world.builds} built, {world.rolled_back} rolled back; of {20 * len(dates)} rows "
            f"{sum(unsettled)} had a region that nobody corrected, and were asked about"
        )
        assert len(known.entered) + len(known.unknown) == 200 and server.killed and world.killed_in_publish
