"""Renders one frame for people; foreign codecs run in a child process that may die.

PS3.18 §8.3.5 (rendered resources): https://dicom.nema.org/medical/dicom/current/output/chtml/part18/sect_8.3.5.html
"""

import asyncio
import multiprocessing
import resource
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from typing import Any

from adapters.dicomweb.frames import Layout
from adapters.dicomweb.look import Look
from fhir_server.kernel.errors import NotAcceptable, Unavailable

_max_pixels = 64 * 1024 * 1024
_child_memory_bytes = 2 * 1024**3
_child_seconds = 20


@dataclass(slots=True)
class Renderer:
    """Owns the child process; create one per server, close it at the end."""

    _pool: ProcessPoolExecutor | None = field(default=None)

    async def render(self, frame: bytes, dataset: dict[str, Any], transfer_syntax: str, look: Look) -> bytes:
        """Return the image file. Raises NotAcceptable when the frame cannot be decoded here."""
        layout = Layout.of(dataset)
        if layout is None or layout.rows * layout.columns * layout.samples > _max_pixels:
            raise NotAcceptable("The image has no size that can be rendered.")
        if transfer_syntax in ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1"):
            from adapters.dicomweb import pixels  # noqa: PLC0415 - its imports would be a third of the server's start

            return await asyncio.to_thread(pixels.native, frame, dataset, layout, look)
        try:
            return await self._in_child(frame, dataset, transfer_syntax, look)
        except BrokenProcessPool:  # it may have died of another frame, or while it was idle
            self.close()
        try:
            return await self._in_child(frame, dataset, transfer_syntax, look)
        except BrokenProcessPool as error:
            self.close()
            raise NotAcceptable("The frame could not be decoded; retrieve the instance.") from error

    async def _in_child(self, frame: bytes, dataset: dict[str, Any], transfer_syntax: str, look: Look) -> bytes:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                1, mp_context=multiprocessing.get_context("spawn"), initializer=_confine, max_tasks_per_child=200
            )
        job = self._pool.submit(_encoded, frame, dataset, transfer_syntax, look)
        try:
            answer = await asyncio.wait_for(asyncio.wrap_future(job), _child_seconds)
        except MemoryError as error:
            raise NotAcceptable("The frame needs too much memory; retrieve the instance.") from error
        except TimeoutError as error:
            self.close()
            raise Unavailable("Decoding the frame took too long.") from error
        if answer is None:
            raise NotAcceptable("This transfer syntax cannot be rendered; retrieve the instance.")
        return answer

    def close(self) -> None:
        """End the child, even one that hangs."""
        pool, self._pool = self._pool, None
        if pool is not None:
            for process in list((pool._processes or {}).values()):  # noqa: SLF001 - the pool offers no kill
                process.kill()
            pool.shutdown(wait=False, cancel_futures=True)


def _confine() -> None:
    """Runs in the child: bounded memory, no core files, no new files."""
    resource.setrlimit(resource.RLIMIT_AS, (_child_memory_bytes, _child_memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def _encoded(frame: bytes, dataset: dict[str, Any], transfer_syntax: str, look: Look) -> bytes | None:
    """Runs in the child."""
    from adapters.dicomweb import pixels  # noqa: PLC0415 - as above

    return pixels.encoded(frame, dataset, transfer_syntax, look)
