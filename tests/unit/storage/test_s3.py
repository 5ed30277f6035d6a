"""What an S3 service says about one object, and what becomes of it: replies of services that cannot be had here."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from io import BytesIO

import boto3
import pytest
from botocore.response import StreamingBody
from botocore.stub import Stubber

from regioncap.drop.drop import local_copy, read_image
from regioncap.errors import (
    ArchivedError,
    ChangedError,
    DropError,
    ForbiddenError,
    NotFoundError,
    PermanentError,
    RowError,
    StorageError,
)
from regioncap.regions.codes import Code
from regioncap.storage.s3 import S3Store


class Service:
    """A store whose service says no to the next request."""

    def __init__(self) -> None:
        client = boto3.client("s3", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="y")
        self.stub = Stubber(client)
        self.store = S3Store(client, "drops", "2026-11-02")

    def refuse(
        self, code: str, status: int, method: str = "get_object", times: int = 1, headers: dict[str, str] | None = None
    ) -> S3Store:
        """The store, whose next requests are refused like this."""
        for _ in range(times):
            self.stub.add_client_error(
                method, code, "No.", status, response_meta={"HTTPHeaders": headers or {}, "HTTPStatusCode": status}
            )
        return self.store


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service()
    with service.stub:
        yield service


def fault_of(service: Service, path: str, code: str, status: int) -> RowError:
    with pytest.raises(RowError) as caught:
        read_image(service.refuse(code, status), path)
    return caught.value


@pytest.mark.parametrize(
    ("path", "code", "status"),
    [
        ("a.jpg", "NoSuchKey", 404),
        ("./x.jpg", "InvalidRequest", 400),
        ("a//b.jpg", "XMinioInvalidObjectName", 400),
        ("a/./b.jpg", "XMinioInvalidResourceName", 400),
        ("a\\b.jpg", "InvalidArgument", 400),
        ("x" * 1200, "KeyTooLongError", 400),
        ("图" * 400, "InvalidArgument", 400),
        ("图" * 400, "414", 414),
        ("a.jpg/", "InvalidObjectName", 400),
        ("a\tb.jpg", "InvalidURI", 400),
        ("./x.jpg", "400", 400),
    ],
)
def test_a_name_that_the_service_does_not_take_is_a_missing_image(
    service: Service, path: str, code: str, status: int
) -> None:
    with pytest.raises(NotFoundError, match="2026-11-02"):
        service.refuse(code, status).read(path)
    assert fault_of(service, path, code, status).code == Code.IMAGE_NOT_FOUND


def test_looking_at_a_name_that_the_service_does_not_take_finds_nothing(service: Service) -> None:
    service.refuse("400", 400, "head_object")
    with pytest.raises(NotFoundError):
        service.refuse("400", 400).stat("./x.jpg")


def test_text_that_no_key_can_have_is_a_missing_image() -> None:
    with pytest.raises(NotFoundError):
        Service().store.read("\ud800.jpg")  # nothing is sent


@pytest.mark.parametrize(
    ("code", "status"),
    [("AccessDenied", 403), ("AllAccessDisabled", 403), ("InvalidRequest", 400), ("KMS.Disabled", 400)],
)
def test_an_object_that_may_not_be_read_is_the_fault_of_its_row_and_of_the_set_up_elsewhere(
    service: Service, code: str, status: int
) -> None:
    fault = fault_of(service, "a.jpg", code, status)
    assert fault.code == Code.IMAGE_FORBIDDEN
    assert "does not allow this file to be read" in fault.reason
    copy = local_copy(service.refuse(code, status), "manifest.jsonl")
    with pytest.raises(ForbiddenError, match=f"s3://drops/2026-11-02/manifest.jsonl: .*S3 said {code}"), copy:
        pass


def test_without_the_right_to_a_bucket_the_message_says_what_to_do(service: Service) -> None:
    words = r"access is denied: give the connection's user the rights to it \(S3 said AccessDenied\)"
    for method, call in (
        ("list_objects_v2", lambda: list(service.store.list())),
        ("put_object", lambda: service.store.write("a", b"")),
        ("get_object", lambda: service.store.read("a")),
    ):
        service.refuse("AccessDenied", 403, method)
        with pytest.raises(StorageError, match=words):
            call()
    service.refuse("403", 403, "head_object")
    service.refuse("403", 403)
    with pytest.raises(StorageError, match="check the connection's keys") as caught:
        service.store.stat("_READY")
    assert not isinstance(caught.value, ForbiddenError)


def test_an_archived_object_has_to_be_restored(service: Service) -> None:
    fault = fault_of(service, "a.jpg", "InvalidObjectState", 403)
    assert fault.code == Code.IMAGE_ARCHIVED
    assert "restore it first" in fault.reason
    with pytest.raises(ArchivedError, match=r"manifest\.jsonl: .*restore it first"):
        service.refuse("InvalidObjectState", 403).read("manifest.jsonl")


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("ExpiredToken", 400),
        ("RequestTimeTooSkewed", 403),
        ("SlowDown", 503),
        ("InternalError", 500),
        ("ServiceUnavailable", 503),
        ("RequestTimeout", 400),
        ("InvalidArgument", 400),
        ("400", 400),
        ("TooManyRequests", 429),
        ("409", 409),
    ],
)
def test_what_may_pass_by_itself_is_neither_a_missing_image_nor_the_end(
    service: Service, code: str, status: int
) -> None:
    with pytest.raises(Exception, match=code) as caught:
        read_image(service.refuse(code, status, times=1000), "a.jpg")
    assert not isinstance(caught.value, PermanentError | RowError | NotFoundError | DropError)
    assert "s3://drops/2026-11-02/a.jpg: " in str(caught.value)


@pytest.mark.parametrize("code", ["InvalidAccessKeyId", "SignatureDoesNotMatch", "NoSuchBucket"])
def test_a_wrong_set_up_is_no_fault_of_a_row(service: Service, code: str) -> None:
    with pytest.raises(StorageError, match=code) as caught:
        read_image(service.refuse(code, 403), "./x.jpg")
    assert not isinstance(caught.value, ForbiddenError)


@pytest.mark.parametrize("code", ["MissingContentMD5", "InvalidRequest", "NotImplemented"])
def test_where_many_objects_cannot_be_deleted_at_once_they_are_deleted_one_by_one(service: Service, code: str) -> None:
    keys = ["2026-11-02/build=1/a", "2026-11-02/build=1/b"]
    listed = [{"Key": key, "Size": 1, "ETag": "x", "LastModified": datetime.now(UTC)} for key in keys]
    service.stub.add_response("list_objects_v2", {"Name": "drops", "IsTruncated": False, "Contents": listed})
    service.refuse(code, 400, "delete_objects")
    for key in keys:
        service.stub.add_response("delete_object", {}, {"Bucket": "drops", "Key": key})
    service.store.sub("build=1").delete_folder()
    service.stub.assert_no_pending_responses()


def test_an_object_of_another_version_has_changed_and_one_that_is_gone_is_missing(service: Service) -> None:
    for code, status in (("PreconditionFailed", 412), ("412", 412)):
        with pytest.raises(ChangedError, match=r"s3://drops/2026-11-02/a\.jpg was written since"):
            service.refuse(code, status).read("a.jpg", '"1"')
    with pytest.raises(NotFoundError):
        service.refuse("NoSuchKey", 404).read("a.jpg", '"1"')


def test_a_service_that_ignores_which_version_is_meant_is_not_believed(service: Service) -> None:
    body = StreamingBody(BytesIO(b"new"), 3)
    service.stub.add_response("get_object", {"Body": body, "ContentLength": 3, "ETag": '"2"'})
    with pytest.raises(ChangedError):
        service.store.read("a.jpg", '"1"')


def test_a_listing_tells_which_files_lie_in_an_archive(service: Service) -> None:
    classes = ["STANDARD", "GLACIER", "GLACIER_IR", "DEEP_ARCHIVE", "STANDARD_IA"]
    common = {"Size": 1, "ETag": '"x"', "LastModified": datetime(2026, 11, 2, tzinfo=UTC)}
    found = [{"Key": f"2026-11-02/{name}", "StorageClass": name, **common} for name in classes]
    service.stub.add_response("list_objects_v2", {"IsTruncated": False, "Name": "drops", "Contents": found})
    assert [entry.path for entry in service.store.list() if entry.archived] == ["GLACIER", "DEEP_ARCHIVE"]


def test_the_time_is_the_services_whatever_clock_this_machine_has(service: Service) -> None:
    said = {"HTTPHeaders": {"date": "Mon, 02 Nov 2026 10:00:00 GMT"}, "HTTPStatusCode": 200}
    service.stub.add_response("list_objects_v2", {"KeyCount": 0, "ResponseMetadata": said})
    assert service.store.now() == datetime(2026, 11, 2, 10, tzinfo=UTC).timestamp()


@pytest.mark.parametrize("headers", [{}, {"date": "yesterday"}])
def test_a_service_that_tells_no_time_has_ours(service: Service, headers: dict[str, str]) -> None:
    said = {"HTTPHeaders": headers, "HTTPStatusCode": 200}
    service.stub.add_response("list_objects_v2", {"KeyCount": 0, "ResponseMetadata": said})
    before = time.time()
    assert before <= service.store.now() <= time.time()
