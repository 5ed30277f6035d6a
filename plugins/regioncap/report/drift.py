"""Drift: does a build look like those of the days before?

A figure of its `quality` that lies outside of all that the last builds had, by a margin, is worth a look before people
train on it: a model was swapped, a drop is of another kind, a prompt went wrong. It is a warning, no more: what is new
need not be wrong.
"""

import logging
from collections.abc import Sequence
from datetime import date, timedelta

from regioncap.errors import PermanentError
from regioncap.report.figures import Quality, load_report
from regioncap.storage.store import Store
from regioncap.warehouse import layout, manifest

_log = logging.getLogger(__name__)

# So many builds before this one are looked at, and no further back.
COMPARED_BUILDS = 7
_LOOK_BACK_DAYS = 28
# With fewer, nobody knows what is usual.
_FEWEST_BUILDS = 3
# Each date that is out of reach may take minutes to say so.
_UNREACHABLE_DATES = 3

# A share may exceed the highest of the last builds by so much, a length be so much times outside of them.
SHARE_MARGIN = 0.05
LENGTH_MARGIN = 1.25

_SHARES = {"rejection_rate": "rejected rows", "warning_rate": "records with a warning"}
# Not known of builds from before they were counted.
_ACROSS = {
    "look_alike_rate": "images that look like an earlier one of the build",
    "shared_caption_rate": "records with a caption that many records share",
    "alike_caption_rate": "captions that are another region's of the same image too",
}
_LENGTHS = {
    "regions_per_record": "regions per record",
    "attempts_per_record": "attempts per record",
    "caption_characters": "characters per caption",
}


def drift(quality: Quality, before: Sequence[Quality]) -> list[str]:
    """What is unusual about a build beside those `before` it, as sentences; nothing where they are too few."""
    if len(before) < _FEWEST_BUILDS:
        return []
    unusual = []
    for name, what in _SHARES.items():
        now, most = getattr(quality, name), max(getattr(other, name) for other in before)
        if now > most + SHARE_MARGIN:
            unusual.append(f"{now:.1%} {what}; the last {len(before)} builds had at most {most:.1%}")
    for name, what in _ACROSS.items():
        now, known = getattr(quality, name), [rate for other in before if (rate := getattr(other, name)) is not None]
        if now is not None and len(known) >= _FEWEST_BUILDS and now > max(known) + SHARE_MARGIN:
            unusual.append(f"{now:.1%} {what}; the last {len(known)} builds had at most {max(known):.1%}")
    unusual += _more_wrong(quality, before)
    for gate, now in quality.gate_rates.items():
        most = max(other.gate_rates.get(gate, 0.0) for other in before)
        if now > most + SHARE_MARGIN:
            unusual.append(f"{now:.1%} of the answers fail {gate}; in the last {len(before)} builds at most {most:.1%}")
    for name, what in _LENGTHS.items():
        now = getattr(quality, name)
        least, most = (pick(getattr(other, name) for other in before) for pick in (min, max))
        if not least / LENGTH_MARGIN <= now <= most * LENGTH_MARGIN:
            unusual.append(f"{now:.2f} {what}; the last {len(before)} builds had {least:.2f} to {most:.2f}")
    return unusual


def _more_wrong(quality: Quality, before: Sequence[Quality]) -> list[str]:
    """Whether more captions are wrong than in any build before: where its interval lies above all of theirs."""
    now, known = quality.wrong_captions, [other.wrong_captions for other in before if other.wrong_captions is not None]
    if now is None or len(known) < _FEWEST_BUILDS:
        return []
    most = max(known, key=lambda wrong: wrong.high)
    if now.low <= most.high:
        return []
    return [
        f"{now.share:.1%} of the captions are wrong, by estimate (95 % interval {now.low:.1%} to {now.high:.1%}, "
        f"{now.questions:,} questions); of the last {len(known)} builds the highest had {most.share:.1%} "
        f"({most.low:.1%} to {most.high:.1%}, {most.questions:,} questions)"
    ]


def earlier_qualities(warehouse: Store, day: str) -> list[Quality]:
    """The figures of the builds of the last dates before `day` (YYYY-MM-DD), latest first.

    `warehouse` is rooted above the partitions. A date that cannot be read is left out, and the log says so: all that it
    is needed for is a warning.
    """
    found: list[Quality] = []
    unreachable = 0
    for days in range(1, _LOOK_BACK_DAYS + 1):
        partition = warehouse.sub(f"{layout.partition_path((date.fromisoformat(day) - timedelta(days)).isoformat())}/")
        try:
            published, _ = manifest.current(partition)
        except Exception as error:  # damaged, forbidden or out of reach
            _log.warning("%s is left out of the comparison with earlier builds: %s", partition.uri, error)
            unreachable += not isinstance(error, PermanentError)
            if unreachable == _UNREACHABLE_DATES:
                break
            continue
        report = load_report(partition, published) if published is not None else None
        if report is not None:
            found.append(report.quality)
        if len(found) == COMPARED_BUILDS:
            break
    return found
