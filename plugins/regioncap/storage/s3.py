"""A store in an S3 bucket."""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from typing import IO, TYPE_CHECKING, Any

from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError
from urllib3.exceptions import HTTPError

from regioncap.errors import (
    ArchivedError,
    BrokenReadError,
    ChangedError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    StorageError,
)
from regioncap.storage.store import Entry, Store, read_again

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from botocore.response import StreamingBody
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import GetObjectOutputTypeDef, ObjectIdentifierTypeDef

# botocore retries throttling and lost connections by itself; these codes it leaves to us, and they stay as they are.
_SETUP_FAULTS = {
    "NoSuchBucket": "the bucket does not exist: create it, or correct the URI",
    "InvalidAccessKeyId": "the access key is unknown: correct the connection's login",
    "SignatureDoesNotMatch": "the secret key is wrong: correct the connection's password",
    "NotImplemented": "the service does not know this kind of request: use one that has conditional writes",
    "403": "access is denied: check the connection's keys and its user's rights",
}
# These are over when a later try comes with new credentials, or the clock is right again.
_PASSING_FAULTS = {
    "ExpiredToken": "the connection's session token has expired: a later try gets a new one where the connection "
    "assumes a role; else renew it there",
    "RequestTimeTooSkewed": "this machine's clock is not the service's: set it right",
}
# What is said about one object.
_FORBIDDEN = {
    "AccessDenied": "access is denied: give the connection's user the rights to it",
    "AllAccessDisabled": "access is denied: whoever runs the service has blocked it",
}
# A name that no object of the service can have. Others say just that the request is not valid.
_IMPOSSIBLE_NAME = {
    "KeyTooLongError",
    "KeyTooLong",
    "InvalidObjectName",
    "InvalidURI",
    "XMinioInvalidObjectName",
    "XMinioInvalidResourceName",
}
_NOT_VALID = {"InvalidRequest", "InvalidArgument", "BadRequest", "400", "414"}
_MAX_KEY_BYTES = 1024
_NOT_FOUND = {"404", "NoSuchKey", "NotFound"}
# The object is not of the version that was asked for.
_CHANGED = {"PreconditionFailed", "412"}
# A conditional write that lost: 412 where the version differs, 409 where both were under way at once, 404 where the
# object that should have been replaced is gone.
_LOST_RACE = {*_CHANGED, "ConditionalRequestConflict", "409", *_NOT_FOUND}

# Enough connections for every thread that reads or copies.
CLIENT_CONFIG = Config(max_pool_connections=64, retries={"mode": "standard", "max_attempts": 6}, connect_timeout=10)

# What services say that do not delete many objects at once as boto3 asks for it, with a checksum instead of an MD5.
_NO_BATCH_DELETE = {"MissingContentMD5", "InvalidRequest", "NotImplemented"}
# The most that one request may name.
_DELETED_AT_ONCE = 1000

# What is read at a time from an object that is read in small pieces.
_BUFFER_BYTES = 64 << 10

_TRANSFER = TransferConfig(multipart_threshold=32 << 20, multipart_chunksize=16 << 20, max_concurrency=4)


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
        with self._faults():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix + prefix
            )
            for page in pages:
                self._check_whole(page)
                for item in page.get("Contents", ()):
                    path = item["Key"].removeprefix(self._prefix)
                    if path and not path.endswith("/"):
                        yield _entry(path, item["Size"], item["ETag"], item["LastModified"])

    def folder_exists(self) -> bool:
        return next(self.list(), None) is not None

    def folders(self) -> Sequence[str]:
        with self._faults():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix, Delimiter="/"
            )
            found: list[str] = []
            for page in pages:
                self._check_whole(page)
                found += [item["Prefix"] for item in page.get("CommonPrefixes", ())]
        return sorted(name.removeprefix(self._prefix).rstrip("/") for name in found)

    def _check_whole(self, page: Mapping[str, Any]) -> None:
        """boto3 takes a listing whose bytes were all lost on the way for one of nothing; a whole one names itself."""
        if not {"IsTruncated", "Name", "KeyCount"} & page.keys():
            raise BrokenReadError(f"{self.uri}: the service's list of files did not arrive")

    def stat(self, path: str) -> Entry:
        with self._faults(path, reading=True):
            head = self._client.head_object(Bucket=self._bucket, Key=self._prefix + path)
            return _entry(path, head["ContentLength"], head["ETag"], head["LastModified"])

    def read(self, path: str, version: str | None = None) -> bytes:
        def read() -> bytes:
            with self.open(path, version) as stream:
                return stream.read()

        return read_again(read)

    def open(self, path: str, version: str | None = None) -> IO[bytes]:
        get: Callable[..., GetObjectOutputTypeDef] = self._client.get_object
        condition = {} if version is None else {"IfMatch": version}
        with self._faults(path, reading=True):
            found = get(Bucket=self._bucket, Key=self._prefix + path, **condition)
        if version is not None and found["ETag"] != version:  # the service ignores the condition
            found["Body"].close()
            raise self._changed(path)
        # Without a length the service sends the body in chunks, the last of which says that it is the last.
        whole = _Whole(found["Body"], found.get("ContentLength", -1), f"{self.uri}/{path}")
        return io.BufferedReader(whole, _BUFFER_BYTES)

    def _changed(self, path: str) -> ChangedError:
        return ChangedError(f"{self.uri}/{path} was written since it was looked at")

    def write(self, path: str, data: bytes) -> None:
        with self._faults(path):
            self._client.put_object(Bucket=self._bucket, Key=self._prefix + path, Body=data)

    def write_stream(self, stream: IO[bytes], path: str) -> None:
        with self._faults(path):
            self._client.upload_fileobj(stream, self._bucket, self._prefix + path, Config=_TRANSFER)

    def local_path(self, path: str) -> None:
        return None

    def copy(self, source: Store, source_path: str, path: str) -> None:
        read_again(lambda: self._copy(source, source_path, path))

    def _copy(self, source: Store, source_path: str, path: str) -> None:
        with self._faults(path):
            if isinstance(source, S3Store) and source.endpoint == self.endpoint:
                origin = {"Bucket": source._bucket, "Key": source._prefix + source_path}
                done = self._client.copy_object(Bucket=self._bucket, Key=self._prefix + path, CopySource=origin)  # type: ignore[arg-type]
                if not done.get("CopyObjectResult"):
                    # Whether it went well is said in the answer's body; boto3 takes one that was lost for an empty one.
                    raise BrokenReadError(f"{self.uri}/{path}: the service's answer to the copying did not arrive")
                return
            with source.open(source_path) as incoming:
                self.write_stream(incoming, path)

    @property
    def endpoint(self) -> str:
        """The service's address."""
        return self._client.meta.endpoint_url

    def replace(self, path: str, data: bytes, version: str | None) -> str:
        put: Callable[..., Any] = self._client.put_object
        condition = {"IfNoneMatch": "*"} if version is None else {"IfMatch": version}
        with self._faults(path):
            try:
                etag: str = put(Bucket=self._bucket, Key=self._prefix + path, Body=data, **condition)["ETag"]
            except ClientError as error:
                if error.response["Error"]["Code"] in _LOST_RACE:
                    raise ConflictError(f"{self.uri}/{path} was written by somebody else") from error
                raise
        return etag

    def delete(self, path: str) -> None:
        with self._faults(path):
            self._client.delete_object(Bucket=self._bucket, Key=self._prefix + path)

    def delete_folder(self) -> None:
        with self._faults():
            keys = (self._prefix + entry.path for entry in self.list())
            while batch := list(islice(keys, _DELETED_AT_ONCE)):
                listed: list[ObjectIdentifierTypeDef] = [{"Key": key} for key in batch]
                try:
                    done = self._client.delete_objects(Bucket=self._bucket, Delete={"Objects": listed, "Quiet": True})
                except ClientError as error:
                    if error.response["Error"]["Code"] not in _NO_BATCH_DELETE:
                        raise
                    for key in batch:
                        self._client.delete_object(Bucket=self._bucket, Key=key)
                    continue
                if done.get("Errors"):
                    raise StorageError(
                        f"{self.uri}: {len(done['Errors'])} files cannot be deleted, the first one because of "
                        f"{done['Errors'][0].get('Code')}: give the connection's user the right to delete"
                    )

    @contextmanager
    def _faults(self, path: str = "", *, reading: bool = False) -> Iterator[None]:
        """Turn what cannot be mended by trying again into a StorageError, and a missing object into NotFoundError.

        While one object is read, what the service does not take as a name counts as missing too.
        """
        where = f"{self.uri}/{path}".rstrip("/")
        try:
            yield
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in _NOT_FOUND or (reading and self._is_impossible(path, code)):
                raise NotFoundError(where) from error
            if reading and code in _CHANGED:
                raise self._changed(path) from error
            if code in _SETUP_FAULTS:
                raise StorageError(f"{where}: {_SETUP_FAULTS[code]} (S3 said {code})") from error
            if code in _FORBIDDEN:
                raise ForbiddenError(f"{where}: {_FORBIDDEN[code]} (S3 said {code})") from error
            if code == "InvalidObjectState":
                raise ArchivedError(
                    f"{where}: it is archived in a storage class that cannot be read: restore it first (S3 said {code})"
                ) from error
            if reading and (code == "InvalidRequest" or code.startswith("KMS.")):
                # What is asked for as it should be, and refused, is encrypted with a key that is not ours.
                raise ForbiddenError(
                    f"{where}: it cannot be read with the connection's rights, as when it is encrypted with a key of "
                    f"somebody else (S3 said {code}: {error.response['Error'].get('Message', '')})"
                ) from error
            if code in _PASSING_FAULTS:
                raise ConnectionError(f"{where}: {_PASSING_FAULTS[code]} (S3 said {code})") from error
            raise
        except (NoCredentialsError, PartialCredentialsError) as error:
            raise StorageError(f"{where}: the connection has no credentials: set its login and password") from error
        except UnicodeEncodeError as error:
            if not reading:
                raise
            raise NotFoundError(f"{where!r}: a key has to be Unicode text") from error
        except BotoCoreError as error:
            raise ConnectionError(
                f"{where}: the S3 service at {self.endpoint} cannot be reached: "
                f"is it running, and is the connection's endpoint_url right? ({error})"
            ) from error

    def _is_impossible(self, path: str, code: str) -> bool:
        """Whether the service says with this code that no object can have this name."""
        if code in _IMPOSSIBLE_NAME:
            return True
        key = self._prefix + path
        odd = not {"", ".", ".."}.isdisjoint(key.split("/")) or not key.isprintable() or "\\" in key
        return code in _NOT_VALID and (odd or len(key.encode("utf-8", "replace")) > _MAX_KEY_BYTES)


def _entry(path: str, size: int, etag: str, modified: datetime) -> Entry:
    return Entry(path, size, etag, modified.timestamp(), checksum=etag.strip('"'))


class _Whole(io.RawIOBase):
    """An object's body of `size` bytes (-1: not known): reading ends at its end, or raises BrokenReadError.

    boto3 counts and checks the bytes when it is asked for more than there are. So the last bytes are handed out only
    when it has been, whoever reads no further than to them.
    """

    def __init__(self, body: "StreamingBody", size: int, where: str) -> None:
        self._body = body
        self._left = size
        self._where = where

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        if self._left == 0:
            return 0
        with self._faults():
            count: int = self._body.readinto(buffer)  # type: ignore[arg-type]
            self._left -= count
            if count and self._left == 0:
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
