"""Objects below one prefix of a bucket: whole or absent, checked both ways, tried again where that may help."""

from __future__ import annotations

import functools
import hashlib
import io
import re
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, BinaryIO, TypeVar
from xml.etree.ElementTree import ParseError

from minio import Minio
from minio.deleteobjects import DeleteObject
from minio.error import InvalidResponseError, MinioException, S3Error, ServerError
from urllib3.exceptions import HTTPError, SSLError

from receipt_counter.storage.connection import Connection, EnvironmentCredentials, connection
from receipt_counter.storage.digests import CHUNK, digests, opened
from receipt_counter.storage.files import atomic_file, writing
from receipt_counter.storage.remote import SCHEME, DamagedError, Entry, StoreError, split_url

PART = 16 * 2**20  # bytes; larger files travel in parts
_DIGEST = "sha256"  # user metadata of every object we write: SHA-256 of its content, hexadecimal
_PLAIN_ETAG = re.compile(r"[0-9a-f]{32}")
_REFUSED = frozenset(
    (
        "AccessDenied",
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "ExpiredToken",
        "InvalidToken",
        "TokenRefreshRequired",
    )
)
_FULL = frozenset(("XMinioStorageFull", "QuotaExceeded", "XMinioAdminBucketQuotaExceeded", "InsufficientStorage"))
_GONE = frozenset(("NoSuchKey", "NoSuchObject", "ResourceNotFound"))
_INSUFFICIENT_STORAGE = 507

T = TypeVar("T")


class Bucket:
    """The objects below a prefix; names are relative to it.

    Args:
        url: s3://bucket/prefix.
        server: how it is reached; None is what the environment says.
        credentials: None is what the environment says.
        part: bytes above which a file travels in parts; S3 wants at least 5 MiB.
        sleep: waits between tries.
    """

    def __init__(
        self,
        url: str,
        server: Connection | None = None,
        credentials: EnvironmentCredentials | None = None,
        *,
        part: int = PART,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.name, self.prefix = split_url(url)
        self.url = SCHEME + "/".join(filter(None, (self.name, self.prefix)))
        self.server = server or connection()
        self._part, self._sleep = part, sleep
        self._credentials = credentials or EnvironmentCredentials()
        self._client = Minio(
            self.server.host,
            secure=self.server.is_secure,
            region=self.server.region,
            credentials=self._credentials,
            http_client=self.server.pool(sleep),
        )

    def __repr__(self) -> str:
        return f"Bucket({self.url})"

    def put(self, name: str, content: Path | bytes) -> Entry:
        """Write an object; whoever reads meanwhile finds the old content or the new.

        Args:
            name: of the object.
            content: bytes, or a file. Of a file that grows meanwhile, as much as it held at the beginning.

        Returns:
            What a listing says of it now.

        Raises:
            StoreError: it could not be written; a file that is gone raises FileNotFoundError.
        """

        def attempt() -> Entry:
            with opened(content) as (file, size):
                digest, etag = digests(file, size, self._part)
                file.seek(0)
                written = self._client.put_object(
                    self.name,
                    self._key(name),
                    file,
                    size,
                    metadata={_DIGEST: digest},
                    part_size=max(self._part, 5 * 2**20),
                )
                encrypted = any("encryption" in header.lower() for header in written.http_headers or {})
                if (written.etag or "").strip('"') != etag and not encrypted:
                    raise DamagedError(f"{self._shown(name)}: what the store received is not what was sent")
                return Entry(size, (written.etag or "").strip('"'))

        return self._patiently("write", name, attempt)

    def get(self, name: str, target: Path) -> None:
        """Read an object into a file, which appears whole, checked and on disk, or not at all.

        Raises:
            StoreError: there is none, or it could not be read.
            UserError: the disk is full, or the place cannot be written to.
        """

        def attempt() -> None:
            with writing(target), atomic_file(target) as file:
                self._receive(name, file)

        self._patiently("read", name, attempt)

    def read(self, name: str) -> bytes | None:
        """An object's content; None where there is none."""

        def attempt() -> bytes:
            content = io.BytesIO()
            self._receive(name, content)
            return content.getvalue()

        with suppress(_AbsentError):
            return self._patiently("read", name, attempt)
        return None

    def _receive(self, name: str, file: BinaryIO) -> None:
        answer = self._client.get_object(self.name, self._key(name))
        try:
            digest, plain = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
            for chunk in answer.stream(CHUNK):
                file.write(chunk)
                digest.update(chunk)
                plain.update(chunk)
        finally:
            answer.close()
            answer.release_conn()
        etag = (answer.headers.get("etag") or "").strip('"')
        sent = answer.headers.get(f"x-amz-meta-{_DIGEST}")
        encrypted = "x-amz-server-side-encryption" in answer.headers
        same = (
            digest.hexdigest() == sent
            if sent
            else encrypted or not _PLAIN_ETAG.fullmatch(etag) or etag == plain.hexdigest()
        )
        if not same:
            raise DamagedError(f"{self._shown(name)}: what was received is not what was written")

    def entries(self, prefix: str = "") -> dict[str, Entry]:
        """{name: entry} of all objects whose name begins with a prefix."""
        return {
            self._name(found.object_name): Entry(found.size, (found.etag or "").strip('"'))
            for found in self._listing(prefix, recursive=True)
            if not found.is_dir
        }

    def folders(self, prefix: str) -> list[str]:
        """Names of what would be the directories right below a prefix, which ends with a slash."""
        found = (self._name(entry.object_name) for entry in self._listing(prefix, recursive=False) if entry.is_dir)
        return sorted(name.removeprefix(prefix).rstrip("/") for name in found)

    def _listing(self, prefix: str, *, recursive: bool) -> list[Any]:
        key = "/".join(filter(None, (self.prefix, prefix))) if prefix else f"{self.prefix}/" if self.prefix else ""
        return self._patiently(
            "list", prefix, lambda: list(self._client.list_objects(self.name, prefix=key, recursive=recursive))
        )

    def age(self, name: str) -> float | None:
        """Seconds since an object was written, by the server's own clock; None where there is none."""
        with suppress(_AbsentError):
            found = self._patiently("look at", name, lambda: self._client.stat_object(self.name, self._key(name)))
            headers: Mapping[str, str] = found.metadata
            written: datetime = found.last_modified
            return (parsedate_to_datetime(headers["date"]) - written).total_seconds()
        return None

    def etag(self, name: str) -> str | None:
        """An object's ETag; None where there is none."""
        with suppress(_AbsentError):
            found = self._patiently("look at", name, lambda: self._client.stat_object(self.name, self._key(name)))
            return (found.etag or "").strip('"')
        return None

    def delete(self, names: Iterable[str]) -> None:
        """Remove objects; those that are not there are no matter."""
        keys = [DeleteObject(self._key(name)) for name in names]

        def attempt() -> None:
            for error in self._client.remove_objects(self.name, keys):
                if error.code not in _GONE:
                    raise StoreError(f"{self.url}: cannot delete {error.name}: {error.code} {error.message}")

        if keys:
            self._patiently("delete from", "", attempt)

    def etag_of(self, path: Path) -> str:
        """The ETag this file has once it was written here."""
        with opened(path) as (file, size):
            return digests(file, size, self._part)[1]

    def probe(self) -> None:
        """Write, read, list and delete an object.

        Raises:
            StoreError: one of these does not work, and why.
        """
        name = f".probe/{secrets.token_hex(8)}"
        self.put(name, name.encode())
        try:
            if self.read(name) != name.encode() or name not in self.entries(".probe/"):
                raise StoreError(f"{self.url}: what was just written is not there; this is no consistent store")
        finally:
            self.delete([name])

    def _key(self, name: str) -> str:
        return "/".join(filter(None, (self.prefix, name)))

    def _name(self, key: str) -> str:
        return key[len(self.prefix) + 1 :] if self.prefix else key

    def _shown(self, name: str) -> str:
        return f"{self.url}/{name}".rstrip("/")

    def _patiently(self, doing: str, name: str, attempt: Callable[[], T]) -> T:
        """Do something; again where the answer broke off, was damaged, or the keys changed meanwhile."""
        pauses = self.server.patience.pauses()
        may_be_rotating = True
        while True:
            try:
                return self._explained(doing, name, attempt)
            except StoreError as error:
                rotating = isinstance(error, _RefusedError) and may_be_rotating
                # what a write finds absent is an upload of its own whose parts got lost
                begin_anew = doing == "write" and isinstance(error, _AbsentError)
                pause = next(pauses, None) if error.is_temporary or rotating or begin_anew else None
                if pause is None:
                    raise
                may_be_rotating = may_be_rotating and not rotating
            self._sleep(pause)

    def _explained(self, doing: str, name: str, attempt: Callable[[], T]) -> T:
        try:
            return attempt()
        except (MinioException, HTTPError, ParseError, ValueError) as error:
            explained = self._explain(f"cannot {doing} {self._shown(name)}", error)
        # raised out here, so that nothing of the request, signature included, hangs on to it
        raise explained

    def _explain(self, what: str, error: Exception) -> StoreError:
        if isinstance(error, S3Error):
            return self._explain_code(what, error.code or "", error.message or "")
        if isinstance(error, (ServerError, InvalidResponseError)):
            return self._explain_status(what, error.status_code if isinstance(error, ServerError) else error._code)
        if isinstance(error, SSLError):
            return StoreError(
                f"{what}: no trusted connection to {self.server.endpoint}: {self._harmless(str(error))}; have "
                "AWS_CA_BUNDLE name the file of its certificate authority"
            )
        if isinstance(error, HTTPError):
            reason = _reason(error)
            return StoreError(
                f"{what}: {self.server.endpoint} cannot be reached, or breaks off: {self._harmless(reason)}; "
                "check AWS_ENDPOINT_URL and the network",
                is_temporary=True,
            )
        if isinstance(error, (ParseError, UnicodeDecodeError)):
            return StoreError(f"{what}: {self.server.endpoint} answers with broken text", is_temporary=True)
        return StoreError(f"{what}: {self._harmless(str(error))}")

    def _explain_status(self, what: str, status: int) -> StoreError:
        if status == _INSUFFICIENT_STORAGE:
            return self._explain_code(what, "InsufficientStorage", "")
        return StoreError(f"{what}: {self.server.endpoint} answers with status {status}", is_temporary=status >= 500)

    def _explain_code(self, what: str, code: str, message: str) -> StoreError:
        said = f"{code}: {self._harmless(message)}".removesuffix(": ")
        if code in _REFUSED:
            return _RefusedError(
                f"{what}: {self.server.endpoint} refuses the credentials ({said}); they were read from "
                f"{self._credentials.source}"
            )
        if code in _FULL:
            return StoreError(f"{what}: no space left in the store ({said}); free some there, then run the same again")
        if code == "NoSuchBucket":
            return StoreError(
                f"{what}: there is no bucket {self.name!r} at {self.server.endpoint}; make it or name another"
            )
        if code in _GONE:
            return _AbsentError(f"{what}: there is no such object")
        if code == "RequestTimeTooSkewed":
            return StoreError(f"{what}: this machine's clock and the store's differ too much ({said}); set it")
        # a part's upload that the server forgot, or a body that was cut off
        again = code in ("NoSuchUpload", "RequestTimeout", "IncompleteBody", "BadDigest", "XAmzContentSHA256Mismatch")
        return StoreError(
            f"{what}: {said}", is_temporary=again or code in ("SlowDown", "InternalError", "ServiceUnavailable")
        )

    def _harmless(self, text: str) -> str:
        """The text without anything secret that a server or a library may have put in."""
        return functools.reduce(lambda shown, secret: shown.replace(secret, "***"), self._credentials.secrets, text)


class _RefusedError(StoreError):
    """The credentials are refused."""


class _AbsentError(StoreError):
    """There is no such object."""


def _reason(error: BaseException) -> str:
    """The innermost cause in words; what urllib3 puts around it names its own objects."""
    while True:
        inner = next((arg for arg in error.args if isinstance(arg, BaseException)), error.__cause__)
        if inner is None or inner is error:
            return f"{type(error).__name__}: {error}"
        error = inner
