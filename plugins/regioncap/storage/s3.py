"""A store in an S3 bucket."""

import io
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from itertools import chain, islice
from typing import IO, TYPE_CHECKING, Any, NoReturn, TypeVar

from botocore import exceptions as boto
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from regioncap.errors import (
    ArchivedError,
    BrokenReadError,
    ChangedError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    StorageError,
    StorageUnavailableError,
)
from regioncap.parallel import for_a_moment, in_order
from regioncap.storage.patience import PassingFault, persist
from regioncap.storage.s3_answers import ANSWERS, Meaning, answer, asked_to_wait
from regioncap.storage.store import Entry, Store, filled

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from botocore.response import StreamingBody
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef, GetObjectOutputTypeDef

Result = TypeVar("Result")

# Enough connections for every thread that reads or copies. Trying again is the store's own affair: boto3's tries would
# multiply with it, and end after seconds.
CLIENT_CONFIG = Config(
    max_pool_connections=64, retries={"mode": "standard", "total_max_attempts": 1}, connect_timeout=10
)

# Where others wait for the answer: a connection and each piece of an answer are there so soon, or not at all.
BRIEF_CONFIG = Config(connect_timeout=5, read_timeout=10)

# What boto3 raises that may be gone the next time; anything else of its own is a matter of the set-up.
_PASSING = (
    boto.ConnectTimeoutError,
    boto.ConnectionClosedError,
    boto.ConnectionError,
    boto.CredentialRetrievalError,
    boto.FlexibleChecksumError,
    boto.HTTPClientError,
    boto.IncompleteReadError,
    boto.MetadataRetrievalError,
    boto.ReadTimeoutError,
    boto.ResponseStreamingError,
)
# What comes up while an answer is read: it was cut off, or damaged.
_BROKEN_ANSWER = (ResponseParserError, HTTPError, HTTPException, OSError)

# A conditional write that lost: 412 where the version differs, 409 where both were under way at once, 404 where the
# object that should have been replaced is gone.
_LOST_RACE = {"PreconditionFailed", "412", "ConditionalRequestConflict", "409", "NoSuchKey", "NotFound", "404"}

# What services say that do not delete many objects at once as boto3 asks for it, with a checksum instead of an MD5.
_NO_BATCH_DELETE = {"MissingContentMD5", "InvalidRequest", "InvalidDigest", "NotImplemented"}
# Storage classes from which an object has to be restored before it can be read.
_ARCHIVES = ("GLACIER", "DEEP_ARCHIVE")

# The most that one request may name.
_DELETED_AT_ONCE = 1000

# What services say that do not copy an object of this size, or kind, by themselves.
_NO_COPY = {"InvalidRequest", "EntityTooLarge", "NotImplemented"}

# What is read at a time from an object that is read in small pieces.
_BUFFER_BYTES = 64 << 10

# What is larger goes up in parts, some of them at once.
_PART_BYTES = 16 << 20
_AT_ONCE_BYTES = 2 * _PART_BYTES
_PARTS_UNDER_WAY = 4


class S3Store:
    """Objects whose key starts with `prefix` in `bucket`. See `Store` for the methods' meaning."""

    def __init__(self, client: "S3Client", bucket: str, prefix: str = "") -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""

    @property
    def uri(self) -> str:
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    def sub(self, path: str) -> "S3Store":
        return S3Store(self._client, self._bucket, self._prefix + path)

    def list(self, prefix: str = "") -> Iterator[Entry]:
        for page in self._pages(Prefix=self._prefix + prefix):
            for item in page.get("Contents", ()):
                path = item["Key"].removeprefix(self._prefix)
                if path and not path.endswith("/"):
                    archived = item.get("StorageClass") in _ARCHIVES
                    yield _entry(path, item["Size"], item["ETag"], item["LastModified"], archived)

    def now(self) -> float:
        ask: Callable[..., Any] = self._client.list_objects_v2
        answered = self._asked("", lambda: ask(Bucket=self._bucket, Prefix=self._prefix, MaxKeys=1))
        told = answered["ResponseMetadata"].get("HTTPHeaders", {}).get("date", "")
        with suppress(ValueError):
            return parsedate_to_datetime(told).timestamp()
        # It does not tell: then at least no request of ours was refused for our clock.
        return time.time()

    def folder_exists(self) -> bool:
        return next(self.list(), None) is not None

    def folders(self) -> Sequence[str]:
        pages = self._pages(Prefix=self._prefix, Delimiter="/")
        found = [item["Prefix"] for page in pages for item in page.get("CommonPrefixes", ())]
        return sorted(name.removeprefix(self._prefix).rstrip("/") for name in found)

    def _pages(self, **query: str) -> Iterator[Mapping[str, Any]]:
        """The pages of a listing. One that did not arrive whole is asked for again, not those before it."""
        ask: Callable[..., Mapping[str, Any]] = self._client.list_objects_v2

        def page() -> Mapping[str, Any]:
            answered = ask(Bucket=self._bucket, **query)
            # boto3 takes a listing whose bytes were all lost on the way for one of nothing; a whole one names itself.
            if not {"IsTruncated", "Name", "KeyCount"} & answered.keys():
                raise BrokenReadError(f"{self.uri}: the service's list of files did not arrive")
            return answered

        while True:
            found = self._asked("", page)
            yield found
            if not found.get("IsTruncated"):
                return
            following = found.get("NextContinuationToken")
            if not following or following == query.get("ContinuationToken"):
                raise StorageError(f"{self.uri}: the service says that its list goes on, and not where: use another")
            query["ContinuationToken"] = following

    def stat(self, path: str) -> Entry:
        return self._asked(path, lambda: self._head(path), reading=True)

    def _head(self, path: str) -> Entry:
        where = {"Bucket": self._bucket, "Key": self._prefix + path}
        head: Callable[..., Any] = self._client.head_object
        get: Callable[..., Any] = self._client.get_object
        try:
            found = head(**where)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code == "404" or not code.isdecimal():
                raise
            # The answer to a HEAD has no body, so it cannot say why not: that to a GET does.
            found = get(**where)
            found["Body"].close()
        return _entry(path, found["ContentLength"], found["ETag"], found["LastModified"])

    def read(self, path: str, version: str | None = None) -> bytes:
        def read() -> bytes:
            with self.open(path, version) as stream:
                return stream.read()

        return persist(read)

    def read_part(self, path: str, start: int, size: int, version: str | None = None) -> bytes:
        def read() -> bytes:
            found = self._got(path, version, Range=f"bytes={start}-{start + size - 1}")
            with io.BufferedReader(_Whole(found["Body"], found.get("ContentLength", -1), self._named(path))) as stream:
                if not str(found.get("ContentRange", "")).startswith(f"bytes {start}-"):
                    raise StorageError(f"{self._named(path)}: the service does not give parts of objects: use another")
                return stream.read()

        return persist(read)

    def open(self, path: str, version: str | None = None) -> IO[bytes]:
        found = self._got(path, version)
        # Without a length the service sends the body in chunks, the last of which says that it is the last.
        whole = _Whole(found["Body"], found.get("ContentLength", -1), f"{self.uri}/{path}")
        return io.BufferedReader(whole, _BUFFER_BYTES)

    def _got(self, path: str, version: str | None, **part: str) -> "GetObjectOutputTypeDef":
        """The service's answer to a request for an object in this version."""
        get: Callable[..., GetObjectOutputTypeDef] = self._client.get_object
        where = {"Bucket": self._bucket, "Key": self._prefix + path, **part}
        condition = {} if version is None else {"IfMatch": version}
        found = self._asked(path, lambda: get(**where, **condition), reading=True)
        if version is not None and found["ETag"] != version:  # the service ignores the condition
            found["Body"].close()
            raise self._changed(path)
        return found

    def _changed(self, path: str) -> ChangedError:
        return ChangedError(f"{self.uri}/{path} was written since it was looked at")

    def write(self, path: str, data: bytes) -> str | None:
        put = self._client.put_object
        done = self._asked(path, lambda: put(Bucket=self._bucket, Key=self._prefix + path, Body=data))
        etag = done.get("ETag")
        return None if etag is None else etag.strip('"')

    def write_stream(self, stream: IO[bytes], path: str) -> None:
        start = filled(stream, _AT_ONCE_BYTES)
        if len(start) < _AT_ONCE_BYTES:
            self.write(path, start)
        else:
            self._write_in_parts(start, stream, path)

    def _write_in_parts(self, start: bytes, stream: IO[bytes], path: str) -> None:
        where = {"Bucket": self._bucket, "Key": self._prefix + path}
        create: Callable[..., Any] = self._client.create_multipart_upload
        send: Callable[..., Any] = self._client.upload_part
        complete: Callable[..., Any] = self._client.complete_multipart_upload
        # As boto3 does it by default for each part; the service wants to know before.
        checked = self._client.meta.config.request_checksum_calculation == "when_supported"  # type: ignore[attr-defined]
        checksum = {"ChecksumAlgorithm": "CRC32"} if checked else {}
        where["UploadId"] = self._asked(path, lambda: create(**where, **checksum)["UploadId"])

        def sent(part: tuple[int, bytes]) -> "CompletedPartTypeDef":
            number, data = part
            done = self._asked(path, lambda: send(**where, **checksum, PartNumber=number, Body=data))
            sums = {"ChecksumCRC32": done["ChecksumCRC32"]} if checksum and "ChecksumCRC32" in done else {}
            return {"PartNumber": number, "ETag": done["ETag"], **sums}  # type: ignore[typeddict-item]

        def completed() -> None:
            try:
                done = complete(**where, MultipartUpload={"Parts": parts})
            except ClientError as error:
                # It has been completed, and only the answer to an earlier try was lost.
                if error.response["Error"]["Code"] == "NoSuchUpload" and self._head(path).size == size:
                    return
                raise
            # Whether it went well is said in the answer's body; boto3 takes one that was lost for an empty one.
            done["ETag"]

        size = 0

        def pieces() -> Iterator[bytes]:
            nonlocal size
            first = (start[at : at + _PART_BYTES] for at in range(0, len(start), _PART_BYTES))
            for piece in chain(first, iter(lambda: filled(stream, _PART_BYTES), b"")):
                size += len(piece)
                yield piece

        abort: Callable[..., Any] = self._client.abort_multipart_upload
        try:
            parts = list(in_order(sent, enumerate(pieces(), start=1), _PARTS_UNDER_WAY))
            self._asked(path, completed)
        except Exception:
            with suppress(Exception):  # a part that is left behind is seen by nobody
                abort(**where)
            raise
        except BaseException:  # the task's time is up
            for_a_moment(lambda: abort(**where))
            raise

    def local_path(self, path: str) -> None:
        return None

    def copy(self, source: Store, source_path: str, path: str) -> str | None:
        if isinstance(source, S3Store) and source.endpoint == self.endpoint:
            origin = {"Bucket": source._bucket, "Key": source._prefix + source_path}
            etag = self._asked(f"{path} from {source.uri}/{source_path}", lambda: self._copied(origin, path))
            if etag is not None:
                return etag.strip('"')

        def through_here() -> None:
            with source.open(source_path) as incoming:
                self.write_stream(incoming, path)

        persist(through_here)
        return None

    def _copied(self, origin: Mapping[str, str], path: str) -> str | None:
        """The ETag of an object that the service has copied by itself: one of more than 5 GB it may not."""
        try:
            done = self._client.copy_object(Bucket=self._bucket, Key=self._prefix + path, CopySource=origin)  # type: ignore[arg-type]
        except ClientError as error:
            if error.response["Error"]["Code"] in _NO_COPY:
                return None
            raise
        # Whether it went well is said in the answer's body; boto3 takes one that was lost for an empty one.
        return done["CopyObjectResult"]["ETag"]

    @property
    def endpoint(self) -> str:
        """The service's address."""
        return self._client.meta.endpoint_url

    def replace(self, path: str, data: bytes, version: str | None) -> str:
        put: Callable[..., Any] = self._client.put_object
        condition = {"IfNoneMatch": "*"} if version is None else {"IfMatch": version}
        tries = 0

        def attempt() -> str:
            nonlocal tries
            tries += 1
            try:
                etag: str = put(Bucket=self._bucket, Key=self._prefix + path, Body=data, **condition)["ETag"]
            except ClientError as error:
                if error.response["Error"]["Code"] not in _LOST_RACE:
                    raise
                # An earlier try may have won, and only its answer was lost.
                own = self._version_of(path, data) if tries > 1 else None
                if own is None:
                    raise ConflictError(f"{self.uri}/{path} was written by somebody else") from error
                return own
            return etag

        return self._asked(path, attempt)

    def _version_of(self, path: str, data: bytes) -> str | None:
        """The version of the object if it holds these bytes."""
        with suppress(NotFoundError, ChangedError):
            entry = self.stat(path)
            if self.read(path, entry.version) == data:
                return entry.version
        return None

    def delete(self, path: str) -> None:
        self._asked(path, lambda: self._client.delete_object(Bucket=self._bucket, Key=self._prefix + path))

    def delete_folder(self) -> None:
        paths = (entry.path for entry in self.list())
        while batch := list(islice(paths, _DELETED_AT_ONCE)):
            if not self._asked("", lambda batch=batch: self._deleted(batch)):  # type: ignore[misc]
                for path in batch:
                    self.delete(path)

    def _deleted(self, paths: Sequence[str]) -> bool:
        """Whether the service has deleted these objects at once: there are some that cannot."""
        try:
            done = self._client.delete_objects(
                Bucket=self._bucket,
                Delete={"Objects": [{"Key": self._prefix + path} for path in paths]},
            )
        except ClientError as error:
            if error.response["Error"]["Code"] in _NO_BATCH_DELETE:
                return False
            raise
        if len(done.get("Deleted", ())) + len(done.get("Errors", ())) < len(paths):
            raise BrokenReadError(f"{self.uri}: the service's answer to the deleting did not arrive whole")
        for failed in done.get("Errors", ()):
            code = failed.get("Code", "")
            if ANSWERS.get(code) is None or ANSWERS[code].meaning is not Meaning.MISSING:
                self._refuse(failed.get("Key", "").removeprefix(self._prefix), code, 400, failed.get("Message", ""))
        return True

    def _asked(self, path: str, request: Callable[[], Result], *, reading: bool = False) -> Result:
        """What a request gives, which is made again where its fault may pass; `path` is the object's.

        Raises StorageError, or what is wrong with the object; while one is `reading`, that is more: what the service
        does not take as a name counts as missing, and what is refused for a reason unknown as forbidden.
        """

        def attempt() -> Result:
            with self._faults(path, reading=reading):
                return request()

        return persist(attempt)

    @contextmanager
    def _faults(self, path: str, *, reading: bool) -> Iterator[None]:
        where = self._named(path)
        try:
            yield
        except ClientError as error:
            said, about = error.response["Error"], error.response["ResponseMetadata"]
            wait = asked_to_wait(about.get("HTTPHeaders", {}))
            status = about.get("HTTPStatusCode", 0)
            self._refuse(path, said.get("Code", ""), status, said.get("Message", ""), reading=reading, wait=wait)
        except (boto.NoCredentialsError, boto.PartialCredentialsError) as error:
            raise StorageError(
                f"{where}: there are no credentials: set the connection's login and password; without Airflow, "
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            ) from error
        except KeyError as error:
            raise PassingFault(f"{where}: the service's answer lacks {error}: it did not arrive whole") from error
        except UnicodeEncodeError as error:
            if not reading:
                raise
            raise NotFoundError(f"{where!r}: a key has to be Unicode text") from error
        except boto.ParamValidationError as error:
            if reading and not self._prefix + path:
                raise NotFoundError(f"{where}: an object has to have a name") from error
            raise StorageError(f"{where} is not a place RegionCap can use: correct the URI ({error})") from error
        except BotoCoreError as error:
            if isinstance(error, boto.SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise StorageError(
                    f"{where}: the certificate of the S3 service at {self.endpoint} is not trusted: correct the "
                    f"connection's verify ({error})"
                ) from error
            if not isinstance(error, _PASSING):
                raise StorageError(f"{where}: the connection cannot be used as it is set up: {error}") from error
            raise PassingFault(
                f"{where}: the S3 service at {self.endpoint} cannot be reached: "
                f"is it running, and is the connection's endpoint_url right? ({error})"
            ) from error
        except (BrokenReadError, StorageUnavailableError):
            raise
        except _BROKEN_ANSWER as error:
            raise PassingFault(f"{where}: the service's answer did not arrive as it is: {error}") from error

    def _refuse(
        self, path: str, code: str, status: int, message: str, *, reading: bool = False, wait: float = 0.0
    ) -> NoReturn:
        """Raise what the service's no to a request about `path` means."""
        meant = answer(code, status, message, key=self._prefix + path if reading else None)
        text = f"{self._named(path)}: {meant.text} (S3 said {code or status})"
        match meant.meaning:
            case Meaning.MISSING:
                raise NotFoundError(text)
            case Meaning.CHANGED if reading:
                raise self._changed(path)
            case Meaning.CHANGED:
                raise ConflictError(text)
            case Meaning.FORBIDDEN:
                raise ForbiddenError(text)
            case Meaning.ARCHIVED:
                raise ArchivedError(text)
            case Meaning.PASSES:
                raise PassingFault(text, wait)
            case Meaning.LATER:
                raise StorageUnavailableError(text)
            case Meaning.SET_UP:
                raise StorageError(text)

    def _named(self, path: str) -> str:
        return f"{self.uri}/{path}".rstrip("/")


def _entry(path: str, size: int, etag: str, modified: datetime, archived: bool = False) -> Entry:
    return Entry(path, size, etag, modified.timestamp(), checksum=etag.strip('"'), archived=archived)


class _Whole(io.RawIOBase):
    """An object's body of `size` bytes (-1: not known): reading ends at its end, or raises BrokenReadError.

    boto3 counts and checks the bytes when it is asked for more than there are. So the last bytes are handed out only
    when it has been, whoever reads no further than to them.
    """

    def __init__(self, body: "StreamingBody", size: int, where: str) -> None:
        self._body = body
        self._left = size
        self._where = where
        self._asked_for_more = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        with self._faults():
            count: int = self._body.readinto(buffer) if self._left else 0  # type: ignore[arg-type]
            self._left -= count
            if self._left == 0 and not self._asked_for_more:
                self._asked_for_more = True
                self._body.read(1)
        return count

    def readall(self) -> bytes:
        with self._faults():
            return self._body.read()

    def close(self) -> None:
        if not self.closed:
            self._body.close()
        super().close()

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except (BotoCoreError, HTTPError, OSError) as error:
            raise BrokenReadError(f"{self._where} did not arrive as it is: {error}") from error
