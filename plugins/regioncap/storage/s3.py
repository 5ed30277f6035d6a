"""A store in an S3 bucket."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import IO, TYPE_CHECKING, Any

from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

from regioncap.storage.store import ConflictError, Entry, NotFoundError, StorageError, Store

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import ObjectIdentifierTypeDef

# botocore retries throttling and lost connections by itself; these codes it leaves to us, and they stay as they are.
_SETUP_FAULTS = {
    "NoSuchBucket": "the bucket does not exist: create it, or correct the URI",
    "AccessDenied": "access is denied: give the connection's user the rights to it",
    "InvalidAccessKeyId": "the access key is unknown: correct the connection's login",
    "SignatureDoesNotMatch": "the secret key is wrong: correct the connection's password",
    "NotImplemented": "the service does not know this kind of request: use one that has conditional writes",
    "403": "access is denied: check the connection's keys and its user's rights",
}
_NOT_FOUND = {"404", "NoSuchKey", "NotFound"}
# A conditional write that lost: 412 where the version differs, 409 where both were under way at once, 404 where the
# object that should have been replaced is gone.
_LOST_RACE = {"PreconditionFailed", "412", "ConditionalRequestConflict", "409", *_NOT_FOUND}

# Enough connections for every thread that reads or copies.
CLIENT_CONFIG = Config(max_pool_connections=64, retries={"mode": "standard", "max_attempts": 6}, connect_timeout=10)

# The most that one request may name.
_DELETED_AT_ONCE = 1000

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
                for item in page.get("Contents", ()):
                    path = item["Key"].removeprefix(self._prefix)
                    if path and not path.endswith("/"):
                        yield Entry(path, item["Size"], item["ETag"], item["LastModified"].timestamp())

    def folder_exists(self) -> bool:
        return next(self.list(), None) is not None

    def folders(self) -> Sequence[str]:
        with self._faults():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix, Delimiter="/"
            )
            found = [item["Prefix"] for page in pages for item in page.get("CommonPrefixes", ())]
        return sorted(name.removeprefix(self._prefix).rstrip("/") for name in found)

    def stat(self, path: str) -> Entry:
        with self._faults(path):
            head = self._client.head_object(Bucket=self._bucket, Key=self._prefix + path)
            return Entry(path, head["ContentLength"], head["ETag"], head["LastModified"].timestamp())

    def read(self, path: str) -> bytes:
        with self._faults(path), self._get(path) as body:
            return body.read()

    def open(self, path: str) -> IO[bytes]:
        with self._faults(path):
            return self._get(path)

    def _get(self, path: str) -> IO[bytes]:
        body: IO[bytes] = self._client.get_object(Bucket=self._bucket, Key=self._prefix + path)["Body"]  # type: ignore[assignment]
        return body

    def write(self, path: str, data: bytes) -> None:
        with self._faults(path):
            self._client.put_object(Bucket=self._bucket, Key=self._prefix + path, Body=data)

    def write_stream(self, stream: IO[bytes], path: str) -> None:
        with self._faults(path):
            self._client.upload_fileobj(stream, self._bucket, self._prefix + path, Config=_TRANSFER)

    def local_path(self, path: str) -> None:
        return None

    def copy(self, source: Store, source_path: str, path: str) -> None:
        with self._faults(path):
            if isinstance(source, S3Store) and source.endpoint == self.endpoint:
                origin = {"Bucket": source._bucket, "Key": source._prefix + source_path}
                self._client.copy_object(Bucket=self._bucket, Key=self._prefix + path, CopySource=origin)  # type: ignore[arg-type]
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
                done = self._client.delete_objects(Bucket=self._bucket, Delete={"Objects": listed, "Quiet": True})
                if done.get("Errors"):
                    raise StorageError(
                        f"{self.uri}: {len(done['Errors'])} files cannot be deleted, the first one because of "
                        f"{done['Errors'][0].get('Code')}: give the connection's user the right to delete"
                    )

    @contextmanager
    def _faults(self, path: str = "") -> Iterator[None]:
        """Turn what cannot be mended by trying again into a StorageError, and a missing object into NotFoundError."""
        where = f"{self.uri}/{path}".rstrip("/")
        try:
            yield
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in _NOT_FOUND:
                raise NotFoundError(where) from error
            if code in _SETUP_FAULTS:
                raise StorageError(f"{where}: {_SETUP_FAULTS[code]} (S3 said {code})") from error
            raise
        except (NoCredentialsError, PartialCredentialsError) as error:
            raise StorageError(f"{where}: the connection has no credentials: set its login and password") from error
        except BotoCoreError as error:
            raise ConnectionError(
                f"{where}: the S3 service at {self.endpoint} cannot be reached: "
                f"is it running, and is the connection's endpoint_url right? ({error})"
            ) from error
