"""The exports `csv` and `json`."""

import csv
import json
from typing import Any

from regioncap.exports.export import Export, carries
from regioncap.regions.records import Record


@carries()
def csv_text(export: Export) -> None:
    """CSV files with a header; nested fields, and what is true or false, are JSON text.

    Text stays as it is, also where a spreadsheet would take it for a formula: this is for programs.
    """
    for path, rows in export.files("csv"):
        with path.open("w", encoding="utf-8", newline="") as stream:
            # All text is in quotes: readers take a carriage return outside of them for the end of a row.
            writer = csv.writer(stream, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
            writer.writerow(Record.model_fields)
            for row in rows:
                writer.writerow([_cell(value) for value in row.record.values()])


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict | bool) else value


@carries()
def json_array(export: Export) -> None:
    """JSON files, each one array of records."""
    for path, rows in export.files("json"):
        with path.open("wb") as stream:
            before = b"[\n"
            for row in rows:
                stream.write(before + row.line)
                before = b",\n"
            stream.write(b"\n]\n" if before != b"[\n" else b"[]\n")
