"""W3: the synthetic records as transactions of at most 200 entries, those of one patient one after the other."""

from bench.client import Connection
from bench.generate import batches, bundle, directory, patient_record

SUCCESSES = ("200", "201")


async def load_directory(connection: Connection, _: int) -> int:
    """Put the organizations and practitioners every record refers to."""
    return await _send(connection, directory())


async def load_patient(connection: Connection, number: int) -> int:
    """Put the record of one patient; returns its entries."""
    return await _send(connection, patient_record(number))


async def _send(connection: Connection, resources: list[dict[str, object]]) -> int:
    for part in batches(resources):
        answer = await connection.send("transaction", "POST", "", bundle(part))
        done = [entry["response"]["status"][:3] for entry in answer["entry"]]
        if len(done) != len(part) or any(status not in SUCCESSES for status in done):
            raise RuntimeError(f"{len(part)} entries were sent, the answers are {sorted(set(done))}")
    return len(resources)
