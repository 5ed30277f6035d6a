"""The package of docs/extending.md, as it stands there."""

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from regioncap.config.settings import BuildSettings
from regioncap.drop.detectors import DETECTORS
from regioncap.drop.readers import READERS
from regioncap.exports import EXPORTERS
from regioncap.extend import Registry
from regioncap.gates import GATES
from regioncap.marks.profiles import PROFILES, profile_of
from regioncap.marks.styles import STYLES
from regioncap.trust.scorers import SCORERS
from tests.builders import ROOT, Place, encoded
from tests.fake_vlm import FakeVlm, Reply, completion
from tests.listening import Knowing, heard, rows, truth
from tests.steps import build, caption, jpeg_of, judge, publish, records, render, validate

PAGE = (ROOT / "docs/extending.md").read_text("utf-8")
REGISTRIES: Mapping[str, Registry[Any]] = {
    "regioncap.gates": GATES, "regioncap.proposers": DETECTORS, "regioncap.readers": READERS,
    "regioncap.exporters": EXPORTERS, "regioncap.styles": STYLES, "regioncap.profiles": PROFILES,
    "regioncap.scorers": SCORERS,
}  # fmt: skip


def entry_points() -> dict[str, dict[str, str]]:
    (text,) = re.findall(r"^```toml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    found: dict[str, dict[str, str]] = tomllib.loads(text)["project"]["entry-points"]
    return found


def modules() -> dict[str, str]:
    """The page's modules by their names."""
    blocks = re.findall(r"^```python\n# (\S+)\.py\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    return {path.replace("/", "."): code for path, code in blocks}


@pytest.fixture
def package(extend: Callable[..., None]) -> None:
    for group, points in entry_points().items():
        for name, place in points.items():
            module, _, thing = place.partition(":")
            extend(group, name, f"{modules()[module]}\nit = {thing}\n")


def test_the_page_has_every_kind_whole_and_in_its_table() -> None:
    assert set(entry_points()) == set(REGISTRIES)
    places = [place.partition(":")[0] for points in entry_points().values() for place in points.values()]
    assert sorted(places) == sorted(modules())
    assert all(f"| `{group}` |" in PAGE for group in REGISTRIES)
    chosen = re.findall(r"^\| \[.*?\| `regioncap\.\w+` \| `(\w+)` \|", PAGE, re.MULTILINE)
    assert len(chosen) == 6 and set(chosen) <= set(BuildSettings.model_fields)


def test_every_example_can_be_used(package: None) -> None:
    for group, points in entry_points().items():
        assert REGISTRIES[group].added == list(points)
        assert all(REGISTRIES[group][name] is not None for name in points)
    assert profile_of("acme/Acme-VL-7B") == "acme-vl"


def test_one_build_uses_all_of_them(package: None, tmp_path: Path, vlm: FakeVlm) -> None:
    place = Place(tmp_path)
    image = Image.new("RGB", (400, 300), (250, 250, 250))
    image.paste((200, 30, 30), (100, 60, 180, 160))
    for name in ("a.png", "b.png"):
        place.put(name, encoded(image, "PNG"))
    images = [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}]
    annotations = [{"image_id": 1, "bbox": [100, 60, 50, 50]}]
    place.put("list.coco.json", json.dumps({"images": images, "annotations": annotations}))
    vlm.behave = lambda number, body: completion('{"<region1>": "a can of Pepsi"}')
    published = build(
        place, vlm, input_format="coco", when_no_boxes="foreground", mark_style="circle", model_profile="acme-vl",
        export_formats=["pairs"],
    )  # fmt: skip
    first, second = records(place)
    assert (first["id"], first["bbox"], first["type"]) == ("1", [[100, 60, 50, 50]], "with_bbox")
    assert (second["id"], second["bbox"]) == ("2", [[100, 60, 80, 100]])
    assert first["checks"] == second["checks"] == ["no_brands"]
    system, user = vlm.requests[0]["messages"]
    assert "In the image each region is circled" in system["content"] and "framed" not in system["content"]
    assert jpeg_of(user["content"][0]).size == (448, 448)
    (export,) = published.manifest.exports
    assert "/exports/pairs/" in export.path
    pairs = [json.loads(line) for line in place.partition.read(export.path).splitlines()]
    assert pairs[0] == {"image": "a.png", "bbox": [100, 60, 50, 50], "text": "a can of Pepsi"}
    assert len(pairs) == 2


def test_the_reader_of_a_drop_gives_its_rows(package: None, tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.put("images/a.png", b"x")
    place.put("boxes/a.box", "dog 100 60 150 110.5\ncat 1 2 30 40\n")
    plan = place.plan(input_format="auto")
    assert plan.settings.input_format == "boxes" and plan.settings.box_format == "xyxy"
    assert (plan.rows, plan.rejected) == (1, 0)


class YesOrNo(Knowing):
    """A VLM that knows what is in each region, and says yes or no to what the page's scorer asks."""

    def listen(self, text: str, row_id: str, shown: dict[int, int]) -> Reply:
        asked = re.search(r'Does "(.*)" describe region (\d+), and no other\?', text)
        assert asked is not None
        right = asked[1] == truth(row_id, {number: region for region, number in shown.items()}[int(asked[2])])
        tokens = [
            {"token": "yes" if right else "no", "logprob": -0.02},
            {"token": "no" if right else "yes", "logprob": -4},
        ]
        reply = json.loads(completion(str(tokens[0]["token"]), "length").body)
        reply["choices"][0]["logprobs"] = {"content": [{**tokens[0], "top_logprobs": tokens}]}
        return Reply(body=json.dumps(reply))


def test_captions_are_judged_by_the_scorer_that_a_run_chooses(
    package: None, tmp_path: Path, vlm: FakeVlm, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, knowing = Place(tmp_path), YesOrNo({("row-3", 2): "a tiny violet spoon"})
    monkeypatch.setattr("regioncap.steps.judge.draw_sheet", knowing.draw_sheet)
    vlm.behave, vlm.greets_listening = knowing, lambda _: heard(["1"], 1)
    rows(place, 30)
    plan = place.plan(judge="all", judge_by="yes_no")
    render(place, plan)
    knowing.learn(place, plan)
    caption(place, plan, vlm)
    judge(place, plan, vlm)
    validate(place, plan)
    judged = publish(place, plan).manifest.judged
    assert judged is not None and judged.share is not None and judged.scorer == "yes_no"
    # It tells of one region alone: what it would say of a neighbour is not known.
    assert set(judged.found) == {"foreign", "attribute", "generic", "merged"}
    doubted = [(r["id"], each["region"]) for r in records(place) for each in r["regions"] if each["trust"] < 0.5]
    assert doubted == [("row-3", 2)]


def test_what_is_no_coco_file_is_a_fault_of_the_drop(package: None, tmp_path: Path) -> None:
    file = tmp_path / "list.coco.json"
    file.write_text('{"images": []}')
    with pytest.raises(ValueError, match=r"it is no COCO file: KeyError\('annotations'\)"):
        list(READERS["coco"].rows(file, "image", "bbox"))
