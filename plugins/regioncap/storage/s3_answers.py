"""What an S3 service says when it says no, and what that means: for one object, for all, for now or for good."""

import email.utils
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, auto
from typing import Any


class Meaning(Enum):
    """Who or what is at fault."""

    MISSING = auto()  # there is no such object, or none can have this name
    CHANGED = auto()  # the object is not of the version that was named
    FORBIDDEN = auto()  # this object may not be read, or written
    ARCHIVED = auto()  # this object has to be restored first
    PASSES = auto()  # it may work the next time
    LATER = auto()  # it does not work before somebody or something else has acted, which the next task may find done
    SET_UP = auto()  # nothing works before somebody has changed the set-up


@dataclass(frozen=True)
class Answer:
    """What an error code means; `text` says what is wrong and what to do."""

    meaning: Meaning
    text: str = ""


_DENIED = "access is denied: give the connection's user the rights to it"
_BUSY = "the service is busy"
_FAILED = "the service failed"
_DAMAGED = "the bytes did not arrive as they were sent"
_NO_NAME = "no object can have this name"
_ARCHIVED = "it is archived in a storage class that cannot be read: restore it first"
_OTHERS_KEY = "it is encrypted with a key that cannot be used: give the connection's user the rights to the key"
_KEYS = "check the connection's keys and its user's rights"
_REGION = "the bucket is in another region, or at another address: correct the connection's region_name or endpoint_url"
_ACCOUNT = "the service does not serve this account: ask whoever runs the service"
_LACKS = "the service does not know this kind of request: use one that has conditional writes and uploads in parts"
_FULL = "the service has no room left, or the quota is used up: make room"
_UPLOAD = "the upload in parts was ended by somebody else: see the bucket's lifecycle rules"
_TOO_LARGE = "the service takes no file of this size: make shards smaller, or raise its limit"
_OWN_POLICY = "the bucket's settings do not allow a file to be written like this: correct them"


def _all(meaning: Meaning, text: str, codes: str) -> dict[str, Answer]:
    return {code: Answer(meaning, text) for code in codes.split()}


# Codes of Amazon's list of errors that a GET, HEAD, LIST, PUT, COPY, DELETE or upload in parts can end in, and what
# MinIO, Ceph, Google, R2 and SeaweedFS say beside them; where there is no code, boto3 gives the HTTP status.
ANSWERS: Mapping[str, Answer] = {
    **_all(Meaning.MISSING, "there is no such object", "NoSuchKey NotFound NoSuchVersion 404 410"),
    **_all(
        Meaning.MISSING,
        _NO_NAME,
        "KeyTooLongError KeyTooLong InvalidObjectName InvalidURI XMinioInvalidObjectName XMinioInvalidResourceName "
        "XMinioObjectNameTooLong",
    ),
    **_all(Meaning.CHANGED, "it was written by somebody else", "PreconditionFailed 412 ConditionalRequestConflict"),
    **_all(Meaning.FORBIDDEN, _DENIED, "AccessDenied UnauthorizedAccess AuthorizationFailed InvalidPayer"),
    **_all(Meaning.FORBIDDEN, "access is denied: whoever runs the service has blocked it", "AllAccessDisabled"),
    **_all(
        Meaning.FORBIDDEN,
        _OTHERS_KEY,
        "KMS.DisabledException KMS.InvalidKeyUsageException KMS.KMSInvalidStateException KMS.NotFoundException "
        "KMS.AccessDeniedException XMinioKMSKeyNotFoundException XMinioObjectTampered SSECustomerKeyMD5Mismatch",
    ),
    **_all(Meaning.ARCHIVED, _ARCHIVED, "InvalidObjectState ObjectNotInActiveTierError"),
    **_all(
        Meaning.PASSES,
        _BUSY,
        "SlowDown SlowDownRead SlowDownWrite Throttling ThrottlingException ThrottledException RequestThrottled "
        "RequestThrottledException TooManyRequests TooManyRequestsException RequestLimitExceeded Busy ServerBusy "
        "BandwidthLimitExceeded LimitExceededException PriorRequestNotComplete KMS.ThrottlingException "
        "OperationAborted 409 425 429",
    ),
    **_all(
        Meaning.PASSES,
        _FAILED,
        "InternalError InternalFailure InternalServerError ServiceUnavailable Unavailable ServiceFailure "
        "RequestTimeout RequestTimeoutException OperationTimedOut TemporaryRedirect Redirect 307 408 500 502 503 504 "
        "XMinioServerNotInitialized XMinioReadQuorum XMinioWriteQuorum XMinioBackendDown "
        "KMS.DependencyTimeoutException KMS.InternalException",
    ),
    **_all(
        Meaning.PASSES,
        _DAMAGED,
        "BadDigest IncompleteBody InvalidDigest XAmzContentSHA256Mismatch XAmzContentChecksumMismatch "
        "ConnectionClosedByRequester ClientDisconnected",
    ),
    **_all(
        Meaning.LATER,
        "the connection's session token has expired: a later try gets a new one where the connection assumes a role; "
        "else renew it there",
        "ExpiredToken ExpiredTokenException TokenRefreshRequired RequestExpired",
    ),
    **_all(
        Meaning.LATER,
        "this machine's clock is not the service's: set it right",
        "RequestTimeTooSkewed RequestInTheFuture",
    ),
    **_all(
        Meaning.LATER,
        _FULL,
        "QuotaExceeded XMinioStorageFull XMinioAdminBucketQuotaExceeded InsufficientStorage StorageFull 507",
    ),
    **_all(Meaning.LATER, _UPLOAD, "NoSuchUpload InvalidPart InvalidPartOrder EntityTooSmall"),
    **_all(
        Meaning.SET_UP,
        "the bucket does not exist: create it, or correct the URI",
        "NoSuchBucket InvalidBucketName NoSuchAccessPoint InvalidAccessPoint",
    ),
    **_all(
        Meaning.SET_UP,
        "the access key is unknown: correct the connection's login",
        "InvalidAccessKeyId InvalidClientTokenId",
    ),
    **_all(
        Meaning.SET_UP,
        "the secret key is wrong: correct the connection's password",
        "SignatureDoesNotMatch InvalidSignature",
    ),
    **_all(
        Meaning.SET_UP,
        "the session token is wrong: correct the connection's aws_session_token",
        "InvalidToken InvalidSecurityToken UnrecognizedClientException",
    ),
    **_all(
        Meaning.SET_UP,
        f"access is denied: {_KEYS}",
        "401 403 MissingAuthenticationToken MissingSecurityHeader CredentialsNotSupported UnexpectedIPError",
    ),
    **_all(
        Meaning.SET_UP,
        _REGION,
        "PermanentRedirect AuthorizationHeaderMalformed IllegalLocationConstraintException InvalidRegion "
        "IncorrectEndpoint EndpointNotFound 301 302 308",
    ),
    **_all(
        Meaning.SET_UP,
        _ACCOUNT,
        "NotSignedUp AccountProblem InvalidSecurity UserProjectMissing UserProjectAccountProblem "
        "UserProjectAccessDenied",
    ),
    **_all(
        Meaning.SET_UP,
        _LACKS,
        "NotImplemented MethodNotAllowed UnsupportedSignature UnsupportedArgument MissingContentLength 405 411 501",
    ),
    **_all(Meaning.SET_UP, _TOO_LARGE, "EntityTooLarge MaxMessageLengthExceeded 413"),
    **_all(
        Meaning.SET_UP,
        _OWN_POLICY,
        "AccessControlListNotSupported InvalidStorageClass InvalidEncryptionAlgorithmError EncryptionTypeMismatch "
        "InvalidBucketState ServerSideEncryptionConfigurationNotFoundError ObjectLocked InvalidRetentionPeriod "
        "ObjectLockConfigurationNotFoundError",
    ),
}

# A key can have so many bytes. What is beyond, and what has an odd part, is a name where the service says no more than
# that the request is not valid.
_MAX_KEY_BYTES = 1024
_NOT_VALID = ("InvalidRequest", "InvalidArgument", "BadRequest", "400", "414")


def answer(code: str, status: int, message: str, *, key: str | None) -> Answer:
    """What an error means that a request to read the object `key` ended in; None: it was about all, or was a write.

    What is refused for a reason that is not known is nobody's fault but the service's.
    """
    known = ANSWERS.get(code)
    if known is not None:
        return known
    if status >= 500 or status == 429:
        return Answer(Meaning.PASSES, _FAILED)
    said = " ".join(message.split())
    if key is not None and code in _NOT_VALID and is_odd(key):
        return Answer(Meaning.MISSING, _NO_NAME)
    if key is not None and (code == "InvalidRequest" or code.startswith("KMS.")):
        # What is asked for as it should be, and refused, is encrypted with a key that is not ours.
        return Answer(
            Meaning.FORBIDDEN,
            "it cannot be read with the connection's rights, as when it is encrypted with a key of somebody else "
            f"(the service says: {said})",
        )
    return Answer(Meaning.LATER, f"the service refuses it ({said}): ask whoever runs the service")


def is_odd(key: str) -> bool:
    """Whether there are services on which no object can have this name."""
    odd = not {"", ".", ".."}.isdisjoint(key.split("/")) or not key.isprintable() or "\\" in key
    return odd or len(key.encode("utf-8", "replace")) > _MAX_KEY_BYTES


def asked_to_wait(headers: Mapping[str, Any], now: datetime | None = None) -> float:
    """How many seconds the service wants to be left alone; 0 where it does not say, or not so that one can read it."""
    try:
        if "x-amz-retry-after" in headers:
            return max(0.0, int(headers["x-amz-retry-after"]) / 1000)
        after = str(headers.get("retry-after", "0"))
        if after.strip().isdecimal():
            return float(after)
        until = email.utils.parsedate_to_datetime(after)
        return max(0.0, (until - (now or datetime.now(UTC))).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return 0.0
