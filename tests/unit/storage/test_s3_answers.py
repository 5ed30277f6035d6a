"""Every way in which an S3 service says no: whose fault it is, whether it is asked again, and what is said of it."""

from collections.abc import Iterator
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

import boto3
import pytest
from botocore.response import StreamingBody
from botocore.stub import Stubber

from regioncap.drop.drop import read_image
from regioncap.errors import (
    ArchivedError,
    ChangedError,
    ConflictError,
    DropChangedError,
    ForbiddenError,
    NotFoundError,
    PermanentError,
    RowError,
    StorageError,
    StorageUnavailableError,
)
from regioncap.regions.codes import Code
from regioncap.storage.s3 import S3Store
from regioncap.storage.s3_answers import ANSWERS, Meaning, answer, asked_to_wait
from tests.hurry import Hurry

CODES = sorted(ANSWERS)


@pytest.fixture(scope="module")
def client() -> Any:
    return boto3.client("s3", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="y")


@pytest.fixture
def stub(client: Any) -> Iterator[Stubber]:
    with Stubber(client) as stub:
        yield stub


@pytest.fixture
def store(stub: Stubber) -> S3Store:
    return S3Store(stub.client, "drops", "2026-11-02")


def refuse(stub: Stubber, method: str, code: str, times: int = 1, status: int = 400, **headers: str) -> None:
    about = {"HTTPStatusCode": status, "HTTPHeaders": headers}
    for _ in range(times):
        stub.add_client_error(method, code, "No.", status, response_meta=about)


RAISED: dict[Meaning, type[Exception]] = {
    Meaning.MISSING: NotFoundError,
    Meaning.CHANGED: ChangedError,
    Meaning.FORBIDDEN: ForbiddenError,
    Meaning.ARCHIVED: ArchivedError,
    Meaning.PASSES: StorageUnavailableError,
    Meaning.LATER: StorageUnavailableError,
    Meaning.SET_UP: StorageError,
}
ROW_CODES = {
    Meaning.MISSING: Code.IMAGE_NOT_FOUND,
    Meaning.FORBIDDEN: Code.IMAGE_FORBIDDEN,
    Meaning.ARCHIVED: Code.IMAGE_ARCHIVED,
}


@pytest.mark.parametrize("code", CODES)
def test_each_code_is_a_rows_fault_or_the_set_ups_or_is_waited_for(
    stub: Stubber, store: S3Store, hurry: Hurry, code: str
) -> None:
    meaning = ANSWERS[code].meaning
    refuse(stub, "get_object", code, times=200)
    with pytest.raises(RAISED[meaning], match=r"s3://drops/2026-11-02/a\.jpg") as caught:
        store.read("a.jpg")
    assert type(caught.value) is RAISED[meaning]
    assert bool(hurry.pauses) == (meaning is Meaning.PASSES)
    assert "An error occurred" not in str(caught.value)  # boto3's own words
    if meaning is not Meaning.CHANGED:
        assert f"S3 said {code}" in str(caught.value)
    changed = DropChangedError if meaning is Meaning.CHANGED else RAISED[meaning]
    with pytest.raises(RowError if meaning in ROW_CODES else changed) as image:
        read_image(store, "a.jpg")
    if isinstance(image.value, RowError):
        assert image.value.code == ROW_CODES[meaning]


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("method", ["put_object", "list_objects_v2", "copy_object", "delete_object"])
def test_each_code_of_what_is_no_read_ends_in_an_error_of_regioncaps(
    stub: Stubber, store: S3Store, hurry: Hurry, method: str, code: str
) -> None:
    calls: dict[str, Any] = {
        "put_object": lambda: store.write("a", b"x"),
        "list_objects_v2": lambda: list(store.list()),
        "copy_object": lambda: store.copy(store, "b", "a"),
        "delete_object": lambda: store.delete("a"),
    }
    if method == "copy_object" and code in ("EntityTooLarge", "NotImplemented"):
        stub.add_client_error("copy_object", code)  # and so it is copied through here
        refuse(stub, "get_object", "NoSuchKey")
    else:
        refuse(stub, method, code, times=200)
    with pytest.raises(
        (PermanentError, StorageUnavailableError, NotFoundError, ConflictError), match="s3://drops/2026"
    ):
        calls[method]()
    assert bool(hurry.pauses) == (ANSWERS[code].meaning is Meaning.PASSES)


def test_what_is_said_of_the_set_up_says_what_to_do() -> None:
    for code, known in ANSWERS.items():
        if known.meaning in (Meaning.SET_UP, Meaning.LATER, Meaning.ARCHIVED):
            assert any(
                verb in known.text
                for verb in ("correct", "create", "check", "ask", "use", "make", "set", "renew", "restore", "see")
            ), code


@pytest.mark.parametrize(("status", "meaning"), [(500, Meaning.PASSES), (599, Meaning.PASSES), (429, Meaning.PASSES)])
def test_a_code_that_nobody_knows_goes_by_its_status(status: int, meaning: Meaning) -> None:
    assert answer("Brandnew", status, "", key="a").meaning is meaning


@pytest.mark.parametrize("key", ["a.jpg", None])
def test_a_refusal_that_nobody_knows_is_no_fault_of_a_row_and_says_what_the_service_says(key: str | None) -> None:
    found = answer("Brandnew", 400, "Use\nanother  moon.", key=key)
    assert found.meaning is Meaning.LATER
    assert "Use another moon." in found.text


def test_a_head_that_cannot_say_why_is_asked_as_a_get(stub: Stubber, store: S3Store) -> None:
    for code, raised, words in (
        ("InvalidAccessKeyId", StorageError, "correct the connection's login"),
        ("AccessDenied", ForbiddenError, "rights"),
        ("ExpiredToken", StorageUnavailableError, "session token has expired"),
        ("RequestTimeTooSkewed", StorageUnavailableError, "clock"),
        ("InvalidObjectState", ArchivedError, "restore"),
        ("NoSuchBucket", StorageError, "create it"),
        ("KeyTooLongError", NotFoundError, "no object can have this name"),
    ):
        for status in (400, 403):
            refuse(stub, "head_object", str(status), status=status)
            refuse(stub, "get_object", code, status=status)
            with pytest.raises(raised, match=words):
                store.stat("_READY")


def test_where_a_head_is_refused_and_a_get_is_not_the_get_counts(stub: Stubber, store: S3Store) -> None:
    for status in (400, 403):
        refuse(stub, "head_object", str(status), status=status)
        found = {"ContentLength": 1, "ETag": '"e"', "LastModified": datetime.now(UTC)}
        stub.add_response("get_object", {"Body": StreamingBody(BytesIO(b"x"), 1), **found})
        entry = store.stat("a")
        assert (entry.size, entry.checksum) == (1, "e")


def page(names: list[str], following: str | None = None) -> dict[str, Any]:
    listed = [
        {"Key": f"2026-11-02/{name}", "Size": 1, "ETag": "x", "LastModified": datetime.now(UTC)} for name in names
    ]
    more = {"NextContinuationToken": following} if following else {}
    return {"Name": "drops", "KeyCount": len(names), "IsTruncated": bool(following), "Contents": listed, **more}


def test_a_list_goes_on_at_the_page_that_failed(stub: Stubber, store: S3Store) -> None:
    stub.add_response("list_objects_v2", page(["a", "b"], "2"))
    refuse(stub, "list_objects_v2", "SlowDown", times=3, status=503)
    stub.add_response("list_objects_v2", {})  # its bytes were lost
    asked = {"Bucket": "drops", "Prefix": "2026-11-02/", "ContinuationToken": "2"}
    stub.add_response("list_objects_v2", page(["c"]), asked)
    assert [entry.path for entry in store.list()] == ["a", "b", "c"]


def test_a_list_that_does_not_end_is_an_error(stub: Stubber, store: S3Store) -> None:
    stub.add_response("list_objects_v2", page(["a"], "2"))
    stub.add_response("list_objects_v2", page(["a"], "2"))
    with pytest.raises(StorageError, match="its list goes on, and not where"):
        list(store.list())


@pytest.mark.parametrize(("there", "won"), [(b"mine", True), (b"theirs", False)])
def test_a_conditional_write_whose_answer_was_lost_has_won_where_its_bytes_are_there(
    stub: Stubber, store: S3Store, there: bytes, won: bool
) -> None:
    refuse(stub, "put_object", "InternalError", status=500)
    refuse(stub, "put_object", "PreconditionFailed", status=412)
    head = {"ContentLength": len(there), "ETag": '"v2"', "LastModified": datetime.now(UTC)}
    stub.add_response("head_object", head)
    body = {"Body": StreamingBody(BytesIO(there), len(there)), "ContentLength": len(there), "ETag": '"v2"'}
    stub.add_response("get_object", body)
    if won:
        assert store.replace("m.json", b"mine", '"v1"') == '"v2"'
    else:
        with pytest.raises(ConflictError):
            store.replace("m.json", b"mine", '"v1"')


def test_a_conditional_write_that_loses_at_once_has_lost_whatever_is_there(stub: Stubber, store: S3Store) -> None:
    refuse(stub, "put_object", "PreconditionFailed", status=412)
    with pytest.raises(ConflictError):
        store.replace("m.json", b"mine", '"v1"')


def test_of_many_objects_those_that_could_not_be_deleted_now_are_deleted_later(stub: Stubber, store: S3Store) -> None:
    stub.add_response("list_objects_v2", page(["a", "b"]))
    failed = {"Key": "2026-11-02/b", "Code": "InternalError", "Message": "No."}
    done = {"Deleted": [{"Key": "2026-11-02/a"}]}
    stub.add_response("delete_objects", {**done, "Errors": [failed]})
    stub.add_response("delete_objects", {})  # its bytes were lost
    stub.add_response("delete_objects", {**done, "Errors": [{**failed, "Code": "NoSuchKey"}]})
    store.delete_folder()
    stub.add_response("list_objects_v2", page(["a", "b"]))
    stub.add_response("delete_objects", {**done, "Errors": [{**failed, "Code": "AccessDenied"}]})
    with pytest.raises(ForbiddenError, match=r"2026-11-02/b: access is denied"):
        store.delete_folder()


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 0.0),
        ({"retry-after": "7"}, 7.0),
        ({"x-amz-retry-after": "1500"}, 1.5),
        ({"retry-after": "Mon, 02 Nov 2026 00:00:30 GMT"}, 30.0),
        ({"retry-after": "Sun, 01 Nov 2026 00:00:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, 0.0),
        ({"retry-after": ""}, 0.0),
        ({"x-amz-retry-after": "soon"}, 0.0),
    ],
)
def test_how_long_the_service_wants_to_be_left_alone(headers: dict[str, str], seconds: float) -> None:
    assert asked_to_wait(headers, datetime(2026, 11, 2, tzinfo=UTC)) == seconds


def test_the_service_is_left_alone_for_as_long_as_it_says(stub: Stubber, store: S3Store, hurry: Hurry) -> None:
    refuse(stub, "put_object", "SlowDown", 1, 503, **{"retry-after": "20"})
    stub.add_response("put_object", {})
    store.write("a", b"x")
    assert 20 <= hurry.pauses[0] <= 21
