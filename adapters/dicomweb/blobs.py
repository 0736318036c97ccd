"""Write-once objects named by the SHA-256 of their bytes, on local disk or in an object store.

Nothing that came from outside is ever part of a name. Locally: temporary file → fsync → rename → fsync of the folder;
elsewhere obstore uploads the finished temporary file. https://developmentseed.org/obstore/
"""

import asyncio
import hashlib
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import obstore
from obstore.store import LocalStore, from_url

_chunk_bytes = 1024 * 1024


class BlobMissing(Exception):
    """A row names a blob that the store does not have."""


def _key(sha256: str) -> str:
    return f"sha256/{sha256[:2]}/{sha256[2:4]}/{sha256}"


class StagedBlob:
    """Bytes on their way in: hashed while written, invisible until kept."""

    def __init__(self, folder: Path) -> None:
        descriptor, name = tempfile.mkstemp(dir=folder, suffix=".part")
        self.path = Path(name)
        self.size = 0
        self._hash = hashlib.sha256()
        self._file = os.fdopen(descriptor, "wb", buffering=_chunk_bytes)

    def write(self, data: bytes) -> None:
        """Append."""
        self._file.write(data)
        self._hash.update(data)
        self.size += len(data)

    @property
    def sha256(self) -> str:
        """Hex digest of what was written so far."""
        return self._hash.hexdigest()

    def close(self, *, sync: bool) -> None:
        """Flush, to the disk itself if ``sync``, also when the file was closed before to be read."""
        self._file.close()
        if sync:
            descriptor = os.open(self.path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def discard(self) -> None:
        """Forget the bytes."""
        self._file.close()
        with suppress(FileNotFoundError):
            self.path.unlink()


@dataclass(frozen=True, slots=True)
class Blobs:
    """The store. ``local`` is set when it is a folder of this machine."""

    store: Any
    staging: Path
    local: Path | None

    @classmethod
    def open(cls, place: str | Path, staging: Path | None = None) -> "Blobs":
        """Open a folder, or a URL obstore understands (``s3://bucket/prefix``); URLs need a ``staging`` folder."""
        if isinstance(place, Path) or "://" not in place:
            root = Path(place).absolute()
            folder = staging or root / "staging"
            for needed in (root, folder):
                needed.mkdir(parents=True, exist_ok=True, mode=0o700)
            return cls(LocalStore(str(root)), folder, root)
        folder = staging or Path(tempfile.gettempdir())
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return cls(from_url(place), folder, None)

    def stage(self) -> StagedBlob:
        """Begin a blob."""
        return StagedBlob(self.staging)

    async def keep(self, staged: StagedBlob) -> str:
        """Make a staged blob durable and visible; return its SHA-256. Keeping the same bytes twice is one blob."""
        if self.local is not None:
            return await asyncio.to_thread(self._keep_locally, staged, self.local)
        await asyncio.to_thread(staged.close, sync=False)
        await obstore.put_async(self.store, _key(staged.sha256), staged.path)
        staged.discard()
        return staged.sha256

    def _keep_locally(self, staged: StagedBlob, root: Path) -> str:
        target = root / _key(staged.sha256)
        staged.close(sync=True)
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        staged.path.rename(target)
        folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return staged.sha256

    async def read(self, sha256: str, start: int, length: int) -> bytes:
        """Return ``length`` bytes from ``start``. Raises BlobMissing."""
        try:
            found = await obstore.get_range_async(self.store, _key(sha256), start=start, length=length)
        except FileNotFoundError as error:
            raise BlobMissing(sha256) from error
        return bytes(found)

    async def chunks(self, sha256: str) -> AsyncIterator[bytes]:
        """Yield a blob's bytes in pieces of about 1 MiB. Raises BlobMissing."""
        if self.local is not None:
            async for chunk in _local_chunks(self.local / _key(sha256)):
                yield chunk
            return
        try:
            answer = await obstore.get_async(self.store, _key(sha256))
        except FileNotFoundError as error:
            raise BlobMissing(sha256) from error
        async for chunk in answer.stream(min_chunk_size=_chunk_bytes):
            yield bytes(chunk)

    def sweep(self, older_than_s: float, now: float) -> int:
        """Delete staged leftovers of a crash older than ``older_than_s``; return how many."""
        count = 0
        for path in self.staging.glob("*.part"):
            with suppress(FileNotFoundError):
                if now - path.stat().st_mtime > older_than_s:
                    path.unlink()
                    count += 1
        return count


async def _local_chunks(path: Path) -> AsyncIterator[bytes]:
    """Read in a thread, one piece in memory at a time."""
    try:
        file = await asyncio.to_thread(path.open, "rb", buffering=0)
    except FileNotFoundError as error:
        raise BlobMissing(path.name) from error
    with file:
        piece = await asyncio.to_thread(file.read, _chunk_bytes)
        while piece:
            yield piece
            piece = await asyncio.to_thread(file.read, _chunk_bytes) if len(piece) == _chunk_bytes else b""
