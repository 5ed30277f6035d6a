"""Pascal VOC and CVAT, and XML that was made to do harm."""

import pytest

from regioncap.errors import DropError
from regioncap.report.advice import ADVICE
from tests.builders import Place
from tests.unit.drop.readers.foreign import faults_of, put_images, rows_of, values_of

BOX = "<bndbox><xmin>10</xmin><ymin>20.5</ymin><xmax>40</xmax><ymax>60</ymax></bndbox>"
OBJECT = f"<object><name>dog</name>{BOX}</object>"


def voc(inner: str, name: str = "a.jpg") -> str:
    size = "<size><width>120</width><height>80</height><depth>3</depth></size>"
    return f"<annotation><filename>{name}</filename>{size}{inner}</annotation>"


def cvat(inner: str) -> str:
    return f"<?xml version='1.0'?>\n<annotations><version>1.1</version><meta><a/></meta>\n{inner}</annotations>"


def image(inner: str, name: str = "a.jpg", number: int = 0) -> str:
    return f'<image id="{number}" name="{name}" width="120" height="80">{inner}</image>\n'


def test_a_voc_file_is_one_row(place: Place) -> None:
    put_images(place, "", ["a.jpg"])
    place.put(
        "a.xml", voc(OBJECT + OBJECT.replace("dog", "自行车").replace("10", "40").replace("<xmax>40", "<xmax>10"))
    )
    assert values_of(place, "voc") == [
        {
            "image": "a.jpg", "width": "120", "height": "80", "bbox": [[10, 20.5, 30, 39.5]] * 2,
            "labels": ["dog", "自行车"],
        }
    ]  # fmt: skip


def test_an_image_is_found_by_what_a_voc_file_says_and_else_by_its_own_name(place: Place) -> None:
    put_images(place, "JPEGImages", ["a.jpg", "b.png", "c.jpg"])
    put_images(place, "more/c", ["c.jpg"])
    place.put("Annotations/a.xml", voc(OBJECT, "a.jpg"))
    place.put("Annotations/b.xml", voc(OBJECT, "b.jpg"))
    place.put("Annotations/c.xml", voc("<folder>more/c</folder>", "c.jpg"))
    place.put("Annotations/d.xml", voc(OBJECT, "none.jpg"))
    assert [row["image"] for row in values_of(place, "voc")] == [
        "JPEGImages/a.jpg", "JPEGImages/b.png", "more/c/c.jpg", "none.jpg",
    ]  # fmt: skip


def test_a_bad_voc_file_costs_itself_and_a_bad_object_its_box(place: Place) -> None:
    put_images(place, "", ["a.jpg", "b.jpg"])
    bad = "<object><name>cat</name></object><object><name> </name><bndbox><xmin>x</xmin></bndbox></object>"
    place.put("a.xml", voc(OBJECT + bad))
    place.put("b.xml", voc(OBJECT, "b.jpg")[:-30])
    place.put("c.xml", "<html></html>")
    ((_, row), *_) = rows_of(place, "voc")
    assert row.value is not None
    assert row.value["bbox"] == [[10, 20.5, 30, 39.5], [None] * 4, ["x", None, None, None]]
    assert row.value["labels"] == ["dog", "cat", None]
    faults = faults_of(place, "voc")
    assert [fault[:3] for fault in faults] == [("b.xml", 1, "not_xml"), ("c.xml", 1, "not_xml")]
    assert faults[1][3] == "it cannot be read as voc: its root is <html>, not <annotation>"
    assert faults[0][2] in ADVICE


def test_cvats_boxes_are_read_and_outlines_and_turned_ones_as_the_boxes_around_them(place: Place) -> None:
    put_images(place, "images", ["a.jpg", "b.jpg"])
    shapes = (
        '<box label="dog" xtl="10.00" ytl="20.50" xbr="40.00" ybr="60.00"><attribute name="x">1</attribute></box>'
        '<polygon label="cat" points="1.0,2.0;11.0,2.0;5.0,9.5"/><polyline label="road" points="1,2;3,4"/>'
        '<box label="kite" xtl="0" ytl="10" xbr="20" ybr="20" rotation="90"/>'
        '<box label="bad" xtl="a" ytl="10" xbr="20"/><polygon label="" points="x"/>'
    )
    place.put("annotations.xml", cvat(image(shapes) + image("", "b.jpg", 1)))
    assert values_of(place, "cvat") == [
        {
            "image": "images/a.jpg", "id": "0", "width": "120", "height": "80",
            "bbox": [[10, 20.5, 30, 39.5], [1, 2, 10, 7.5], [5, 5, 10, 20], ["a", 10.0, 20.0, None], "x"],
            "labels": ["dog", "cat", "kite", "bad", None],
        },
        {"image": "images/b.jpg", "id": "1", "width": "120", "height": "80"},
    ]  # fmt: skip
    assert [row.line for _, row in rows_of(place, "cvat")] == [3, 4]


def test_images_of_one_name_in_subsets_of_cvat_are_each_their_own(place: Place) -> None:
    for subset in ("Train", "Night"):
        put_images(place, f"images/{subset}", ["a.jpg"])
    images = [image("").replace(">", f' subset="{subset}">', 1) for subset in ("Night", "Train")]
    place.put("annotations.xml", cvat("".join(images)))
    assert [row["image"] for row in values_of(place, "cvat")] == ["images/Night/a.jpg", "images/Train/a.jpg"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (cvat("<track id='0'/>"), "it is of a video"),
        (cvat(""), "it has no <image>"),
        (cvat(image(""))[:-20], "it is not XML: unclosed token: line 3, column"),
        ("<annotation></annotation>", "its root is <annotation>, not <annotations>"),
        ("", "it is not XML: no element found"),
        (cvat("<a>" * 70 + "</a>" * 70), "its elements are nested more than 64 levels deep"),
        (cvat(image("<box/>" * 200_000)), "an element has more than"),
        ("<?xml version='1.0' encoding='nonesuch'?><annotations/>", "it has no <image>"),
    ],
)
def test_a_file_that_is_not_cvats_is_named(place: Place, text: str, reason: str) -> None:
    put_images(place, "", ["a.jpg"])
    place.put("x/annotations.xml", text)
    with pytest.raises(DropError, match=rf"the manifest x/annotations\.xml cannot be read as cvat: {reason}"):
        rows_of(place, "cvat")


HARM = [
    '<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;&x;&x;">]>',
    '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
    '<!DOCTYPE a SYSTEM "http://127.0.0.1:1/a.dtd">',
    '<!DOCTYPE a [<!ENTITY % x SYSTEM "file:///etc/passwd"> %x;]>',
]


@pytest.mark.parametrize("start", HARM)
def test_entities_and_document_types_are_refused(place: Place, start: str) -> None:
    put_images(place, "", ["a.jpg"])
    place.put("a.xml", start + voc(OBJECT.replace("dog", "&x;")))
    ((_, _, code, reason),) = faults_of(place, "voc")
    assert code == "not_xml" and "it has a document type (<!DOCTYPE ...>), which is not read: take it out" in reason
    (place.drop_folder / "a.xml").unlink()
    place.put("b.xml", start + "<annotations>&y;</annotations>")
    with pytest.raises(DropError, match=r"b\.xml cannot be read as cvat: it has a document type"):
        rows_of(place, "cvat")


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1", "utf-8-sig"])
def test_xml_says_itself_in_which_encoding_it_is(place: Place, encoding: str) -> None:
    put_images(place, "", ["a.jpg"])
    named = encoding.removesuffix("-sig")
    text = f"<?xml version='1.0' encoding='{named}'?>" + voc(OBJECT.replace("dog", "Bär"))
    place.put("a.xml", text.encode(encoding))
    (row,) = values_of(place, "voc")
    assert row["labels"] == ["Bär"]
    assert place.plan(input_format="auto").settings.input_format == "voc"


def test_frames_of_a_film_are_found_without_their_ending(place: Place) -> None:
    put_images(place, "images", ["frame_000000.PNG", "s/frame_000001.PNG", "x.y.jpg"])
    names = ["frame_000000", "s/frame_000001", "x.y", "frame_000002", "../x.y", "none.jpg", "t/frame_000001"]
    images = "".join(f'<image id="{number}" name="{name}"/>' for number, name in enumerate(names))
    place.put("annotations.xml", f"<annotations>{images}</annotations>")
    found = [row.value["image"] for _, row in rows_of(place, "cvat") if row.value is not None]
    assert found == [
        "images/frame_000000.PNG", "images/s/frame_000001.PNG", "images/x.y.jpg", "../x.y", "none.jpg",
        "t/frame_000001",
    ]  # fmt: skip
    assert [code for *_, code, _ in faults_of(place, "cvat")] == ["image_not_found"]
