"""Messages as files: a folder per site; a file is taken once it is complete, and moved when it is durable.

HL7 v2.9 §2.10.3 (batch files). A file that was taken and not yet moved when the process died is taken again: the inbox
knows its messages, so there is no second effect.
"""

import asyncio
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from adapters.hl7v2.framing import CR, FS, VT
from adapters.hl7v2.header import split_messages
from adapters.hl7v2.peer import Peer
from adapters.hl7v2.receive import Intake, Receipt

log = logging.getLogger(__name__)

_ACCEPTED = ("AA", "CA")
_UNFINISHED = (".tmp", ".part", ".filepart", ".writing")
_SAMPLE = 64 * 1024


class Drop:
    """Takes the files of one site's folder, oldest first; ``done`` and ``failed`` are folders in it.

    A file is complete when its size and time are what they were at the look before. Names that begin with a dot or
    end in .tmp, .part, .filepart or .writing are left alone.
    """

    def __init__(self, intake: Intake, site: str, folder: Path, *, limit_bytes: int, interval_s: float = 5.0) -> None:
        self._intake = intake
        self._peer = Peer("file", site=site)
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._interval_s = interval_s
        self._seen: Mapping[Path, tuple[int, int]] = {}

    async def run(self) -> None:
        """Look again and again until cancelled; a folder that cannot be read is told once a look."""
        while True:
            try:
                await self.look()
            except OSError as error:
                log.warning("The folder of site %s cannot be worked on: %s", self._peer.site, error.strerror)
            await asyncio.sleep(self._interval_s)

    async def look(self) -> None:
        """Take every file that did not change since the last look, oldest first."""
        found = await asyncio.to_thread(self._files)
        complete = [path for path, state in found.items() if self._seen.get(path) == state]
        self._seen = found
        for path in complete:
            if not await self._take(path):
                return

    def _files(self) -> dict[Path, tuple[int, int]]:
        states: dict[Path, tuple[int, int]] = {}
        for path in self._folder.iterdir():
            if path.is_file() and not path.name.startswith(".") and not path.name.endswith(_UNFINISHED):
                stat = path.stat()
                states[path] = (stat.st_mtime_ns, stat.st_size)
        return dict(sorted(states.items(), key=lambda item: (item[1], item[0].name)))

    async def _take(self, path: Path) -> bool:
        """Hand a file's messages to the intake and move it; False leaves it, and those after it, for the next look."""
        receipts = await self._receipts(path)
        if not all(receipt.stored for receipt in receipts):
            return False
        well = bool(receipts) and all(receipt.code in _ACCEPTED for receipt in receipts)
        answers = b"".join(receipt.answer for receipt in receipts)
        await asyncio.to_thread(_move, path, "done" if well else "failed", answers)
        log.info(
            "A file of site %s with %s messages is %s", self._peer.site, len(receipts), "done" if well else "failed"
        )
        return True

    async def _receipts(self, path: Path) -> list[Receipt]:
        if self._seen[path][1] > self._limit_bytes:
            answer = await self._intake.discard(await asyncio.to_thread(_beginning, path), self._peer, "oversize")
            return [Receipt(answer or b"")]
        content = (await asyncio.to_thread(path.read_bytes)).strip(VT + FS + CR + b"\n\x00")
        return [await self._intake.take(raw, self._peer) for raw in split_messages(content + CR)] if content else []


def _beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_SAMPLE)


def _move(path: Path, where: str, answers: bytes) -> None:
    """Put the acknowledgements beside the file's new place, then move it there; both appear whole or not at all."""
    folder = path.parent / where
    folder.mkdir(exist_ok=True)
    target = folder / path.name
    if target.exists():
        target = folder / f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{path.name}"
    unfinished = folder / f".{target.name}.ack.writing"
    unfinished.write_bytes(answers)
    unfinished.replace(folder / f"{target.name}.ack")
    try:
        path.replace(target)
    except FileNotFoundError:
        log.info("Another process has moved the file already")
