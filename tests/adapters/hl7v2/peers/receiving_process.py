"""A process that receives HL7 v2 for LAKESIDE, and dies by SIGKILL where it is told to.

python receiving_process.py CONNINFO SITES_FOLDER MOMENT [MESSAGES]; MOMENT is never, before_commit or after_commit.
Prints its port; dies at the given moment of the message with that number (default 1).
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

from adapters.hl7v2.receive import Intake
from adapters.hl7v2.server import MllpServer
from adapters.hl7v2.sites import load_sites
from fhir_server.store.database import Database
from fhir_server.store.wiring import Wiring


class Mortal:
    """Passes messages on to the real intake and dies after the commit of message ``number``, before its answer."""

    def __init__(self, intake: Intake, moment: str, number: int) -> None:
        self.intake, self.moment, self.left = intake, moment, number

    async def receive(self, raw, peer):
        answer = await self.intake.receive(raw, peer)
        self.left -= 1
        if self.moment == "after_commit" and self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    async def discard(self, raw, peer, reason):
        return await self.intake.discard(raw, peer, reason)


async def main(conninfo: str, sites: str, moment: str, number: int) -> None:
    async def die_on_provenance(change, _tx):
        # The Provenance is the last thing a message writes: everything is on its way, nothing is committed.
        if moment == "before_commit" and change.resource_type == "Provenance":
            os.kill(os.getpid(), signal.SIGKILL)

    database = await Database.open(conninfo, wiring=Wiring(guards=(die_on_provenance,)))
    server = MllpServer(Mortal(Intake(database, load_sites(Path(sites))), moment, number), "127.0.0.1", 0)
    await server.start()
    print(server.address[1], flush=True)  # noqa: T201 - how the test learns the port
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4], int(sys.argv[4]) if len(sys.argv) > 4 else 1))
