"""One instance on its way in: staged → header read within limits → identity compared → kept → a row to be stored.

Nothing here writes to the database; what cannot be taken comes back as something to put aside.
"""

import asyncio
import mmap
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from adapters.dicomweb import dicomjson
from adapters.dicomweb.blobs import Blobs, StagedBlob
from adapters.dicomweb.client import Pacs, PacsRefused
from adapters.dicomweb.frames import frame_table
from adapters.dicomweb.identity import mismatch
from adapters.dicomweb.multipart import Event, PartData, PartHead
from adapters.dicomweb.part10 import DEFLATED, InvalidDicom, is_uid, read_header
from fhir_server.kernel import json
from fhir_server.store.imaging import Quarantined, StoredInstance

_max_instance_bytes = 8 * 1024**3
_identity_tags = ("00100020", "00100021", "00100010", "00100030")


class IdentityMismatch(Exception):
    """An instance is about somebody else; ``reason`` is a code."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"The study is not about this patient: {reason}.")


@dataclass(frozen=True, slots=True)
class Examined:
    """What the header of a staged instance says."""

    study_uid: str
    series_uid: str
    sop_uid: str
    sop_class: str
    transfer_syntax: str
    number: int
    pixel_offset: int | None
    frames: str
    dataset: dict[str, Any]


async def stage_parts(events: AsyncIterator[Event], blobs: Blobs) -> AsyncIterator[StagedBlob]:
    """Yield every part of a multipart answer as a staged blob, once it is complete."""
    staged: StagedBlob | None = None
    try:
        async for event in events:
            if isinstance(event, PartHead):
                staged = blobs.stage()
            elif staged is None:
                continue
            elif isinstance(event, PartData):
                staged.write(event.data)
                if staged.size > _max_instance_bytes:
                    raise PacsRefused("An instance is larger than we take.")
            else:
                complete, staged = staged, None
                yield complete
    finally:
        if staged is not None:
            staged.discard()


def examine(staged: StagedBlob) -> Examined:
    """Read the header of a staged blob. Raises InvalidDicom."""
    staged.close(sync=False)
    if staged.size == 0:
        raise InvalidDicom("no-dicm-prefix")
    with staged.path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)  # goes when its last view goes
    header = read_header(memoryview(mapped))
    dataset = dicomjson.to_json(header)
    study, series, sop, sop_class = (
        dicomjson.text(dataset, tag) for tag in ("0020000D", "0020000E", "00080018", "00080016")
    )
    if not all(map(is_uid, (study, series, sop, sop_class))):
        raise InvalidDicom("invalid-uid")
    number = dicomjson.value(dataset, "00200013", 0)
    deflated = header.transfer_syntax == DEFLATED  # its positions are not those of the file
    table = frame_table(header.pixels, dicomjson.value(dataset, "00280008", 1)) if header.pixels else []
    return Examined(
        study_uid=study,
        series_uid=series,
        sop_uid=sop,
        sop_class=sop_class,
        transfer_syntax=header.transfer_syntax,
        number=number if isinstance(number, int) and abs(number) < 2**31 else 0,
        pixel_offset=header.pixels.offset if header.pixels and not deflated else None,
        frames=json.encode_text(table) if table else "",
        dataset=dataset,
    )


@dataclass(slots=True)
class Intake:
    """Takes the instances of one study for one patient; ``known`` maps expected (series, SOP) to what is stored."""

    blobs: Blobs
    pacs: Pacs
    study_uid: str
    patient: dict[str, Any]
    known: dict[tuple[str, str], str | None]
    released: bool = False
    _verdicts: dict[bytes, str | None] = field(default_factory=dict)

    async def take(self, staged: StagedBlob) -> StoredInstance | Quarantined | None:
        """Keep one staged instance; None when it is already there. Raises IdentityMismatch."""
        try:
            found = await asyncio.to_thread(examine, staged)
        except InvalidDicom as error:
            return await self._aside(staged, error.reason)
        self._check_identity(found, staged)
        key = (found.series_uid, found.sop_uid)
        if found.study_uid != self.study_uid or key not in self.known:
            return await self._aside(staged, "unexpected-instance", found)
        present = self.known[key]
        if present == staged.sha256:
            staged.discard()
            return None
        if present is not None:
            return await self._aside(staged, "content-conflict", found)
        self.known[key] = staged.sha256  # before the wait: a duplicate may be taken meanwhile
        sha256 = await self.blobs.keep(staged)
        return StoredInstance(
            study_uid=found.study_uid,
            series_uid=found.series_uid,
            sop_uid=found.sop_uid,
            sha256=sha256,
            size=staged.size,
            sop_class=found.sop_class,
            transfer_syntax=found.transfer_syntax,
            number=found.number,
            pixel_offset=found.pixel_offset,
            frames=found.frames,
            header=json.encode_text(found.dataset),
        )

    def _check_identity(self, found: Examined, staged: StagedBlob) -> None:
        if self.released:
            return
        key = json.encode([found.dataset.get(tag) for tag in _identity_tags])
        if key not in self._verdicts:
            self._verdicts[key] = mismatch(found.dataset, self.patient, self.pacs)
        reason = self._verdicts[key]
        if reason is not None:
            staged.discard()
            raise IdentityMismatch(reason)

    async def _aside(self, staged: StagedBlob, reason: str, found: Examined | None = None) -> Quarantined:
        sha256 = await self.blobs.keep(staged)
        return Quarantined(
            site=self.pacs.site,
            study_uid=self.study_uid,
            reason=reason,
            series_uid=found.series_uid if found else "",
            sop_uid=found.sop_uid if found else "",
            sha256=sha256,
        )
