"""Records, rejected rows, and the report and page of them, without a build."""

from typing import Any

from regioncap.regions.codes import Code
from regioncap.regions.records import Record, Rejected
from regioncap.report.across import AcrossBuild, AlikeCaptions, LookAlikes, SharedCaption
from regioncap.report.figures import Distribution, Report, Statistics
from regioncap.report.page import render_page
from regioncap.report.schemas import example
from regioncap.trust.estimate import Judged
from tests.builders import encoded, picture, settings

RECORD = Record.model_validate(example(Record))
REJECTED = Rejected.model_validate(example(Rejected))
EXPORTED = ["csv", "json", "parquet"]


def record(number: int, *captions: str, **changes: Any) -> Record:
    regions = [
        RECORD.regions[0].model_copy(update={"region": region, "caption": caption})
        for region, caption in enumerate(captions or ["a red door"], start=1)
    ]
    plain = {"id": str(number), "regions": regions, "dropped_boxes": [], "checks": []}
    return RECORD.model_copy(update={**plain, **changes})


def rejected(line: int, code: Code = Code.IMAGE_NOT_FOUND, **changes: Any) -> Rejected:
    return REJECTED.model_copy(update={"line": line, "code": code, **changes})


def report_of(statistics: Statistics, text: str = "harmless") -> Report:
    """A report of these rows that says `text` wherever it holds text of a user's, a drop's or a server's."""
    chosen = settings(export_formats=EXPORTED).model_dump(mode="json")
    return Report.model_validate(example(Report)).model_copy(
        update={
            "counts": statistics.counts,
            "quality": statistics.quality(),
            "gates": statistics.gates(),
            "warned_records": statistics.warned_records,
            "doubted_captions": statistics.doubted_captions,
            "across": across_of(text),
            "judged": judged(judge=text),
            "regions_per_image": Distribution.of(statistics.regions_per_image),
            "words_per_caption": Distribution.of(statistics.words_per_caption),
            "attempts_per_record": Distribution.of(statistics.attempts_per_record),
            "rejected_by_code": {str(code): rows for code, rows in statistics.rejected_by_code.items()},
            "model": text,
            "drop_uri": text,
            "settings": {**chosen, "prompt": text, "system_prompt": text, "drops_uri": text, "image_key": text},
        }
    )


def across_of(text: str) -> AcrossBuild:
    """What is seen across a build that says `text` wherever it holds text of a drop's or a model's."""
    return AcrossBuild(
        shared_by=10, shared_captions=1, sharing_records=31, most_shared=[SharedCaption(caption=text, records=31)],
        alike_captions=2, alike=[AlikeCaptions(image=text, caption=text, regions=[1, 2])], images=45, look_alikes=1,
        looking_alike=[LookAlikes(image=text, other=text)],
    )  # fmt: skip


def judged(**changes: Any) -> Judged:
    """A build that was judged, by figures that stand nowhere else."""
    return Judged.model_validate(example(Judged)).model_copy(
        update={"share": 0.0731, "low": 0.0512, "high": 0.1049, "asked": 1234, **changes}
    )


def not_judged(reason: str = "the judge is away", **changes: Any) -> Judged:
    return judged(share=None, low=None, high=None, false_alarm=None, found={}, reason=reason, **changes)


def rows_that_say(text: str) -> Statistics:
    """Records with a warning, one without, and a rejected row, which say `text` wherever they hold text."""
    statistics = Statistics()
    for number in range(2):
        warned = {"checks": [text[:100]], "dropped_boxes": RECORD.dropped_boxes}
        statistics.add(record(number, text, text, image=text, attempts=2, **warned))
    statistics.add(record(2, text, image=text, type="without_bbox"))
    doubted = RECORD.regions[0].model_copy(update={"caption": text, "trust": 0.1, "confused_with": 2})
    statistics.add(record(3, regions=[doubted], image=text))
    said = {"image": text, "answer": text}
    statistics.add_rejected(rejected(1, Code.CUT_OFF, manifest=text, reason=text, row=said))
    return statistics


def page_of(statistics: Statistics, text: str = "harmless") -> str:
    jpeg = encoded(picture())
    return render_page(report_of(statistics, text), statistics.samples, lambda path: jpeg)
