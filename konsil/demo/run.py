"""``konsil demo``: start the hospital and a real Konsil, tell the story, show the case, stop everything."""

import asyncio
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import typst

from konsil.demo import opinion, records
from konsil.demo.api import Api
from konsil.demo.console import Console
from konsil.demo.hospital import Inbox
from konsil.demo.messages import Lakeside
from konsil.demo.orthanc import Orthanc, OrthancUnavailable, installed
from konsil.demo.phantom import Study, instances
from konsil.demo.server import DemoError, Server, port_near
from konsil.demo.story import Story, report_pdf, sign_in_link

_note = """
#set page(paper: "us-letter", margin: 2.2cm)
#set text(size: 11pt)
= Oncology consultation
Lakeside Hospital, Providence RI #h(1fr) ALVAREZ, Maria · MRN 00483921

Adenocarcinoma of the right upper lobe, clinical stage cT2aN2M0 (IIIA). ECOG 0. Never smoker.

*Plan.* Cisplatin, pemetrexed and nivolumab for three cycles, then lobectomy.

#v(1cm) Anil Rao, MD
"""


async def run(folder: Path, sites: Path, *, until_interrupted: bool) -> bool:
    """Play the case in ``folder`` (emptied first); True when every assertion held."""
    task = asyncio.current_task()
    if task is not None:  # a demo that is told to end takes the hospital and the server down with it
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    console = Console()
    console.title("Konsil", "one second opinion, from intake to report. The patient does not exist.")
    prepare(folder)
    async with _stage(console, folder, sites) as story:
        await _play(story)
        await opinion.timeline(story)
        held = console.summary()
        await _links(story)
        if until_interrupted:
            await _until_interrupted(console)
    return held


def prepare(folder: Path) -> None:
    """Empty the demo's folder. Raises DemoError when it holds something that is not a demo's."""
    marker = folder / ".konsil-demo"
    if folder.exists() and any(folder.iterdir()) and not marker.exists():
        raise DemoError(f"{folder} is not empty and no demo made it. Choose another --data-dir.")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    marker.touch()


async def _play(story: Story) -> None:
    await records.admission(story)
    await records.results(story)
    await records.note(story, typst.compile(_note.encode()))
    await records.bad_message(story)
    await opinion.submission(story)
    await opinion.ineligible(story)
    await records.images(story)
    await records.sequencing(story)
    await opinion.offer(story)
    await opinion.report(story)
    await opinion.delivery(story)


@asynccontextmanager
async def _stage(console: Console, folder: Path, sites: Path) -> AsyncIterator[Story]:
    """Start PACS, Konsil and the hospital's receiver, and take them down again."""
    lakeside = Lakeside()
    console.step("0", "LAKESIDE and Konsil start")
    orthanc, count = await asyncio.to_thread(_pacs, console, folder / "orthanc", lakeside)
    inbox = Inbox(port_near(2576))
    server = Server(folder)
    opened: list[Api] = []
    try:
        server.configure(sites, receiver_port=inbox.port, dicomweb_url=orthanc.dicomweb_url if orthanc else None)
        took = await asyncio.to_thread(server.start)
        console.note(f"konsil serve answers at {server.url}/fhir after {took:.1f} s (database made, schema migrated)")
        tokens = await asyncio.gather(
            asyncio.to_thread(server.token, "system", "system/*.cruds"),
            asyncio.to_thread(server.token, "Practitioner/ruth-adler", "user/*.cruds"),
        )
        system, coordinator = (Api(f"{server.url}/fhir", token) for token in tokens)
        opened += [system, coordinator]
        story = Story(console, server, lakeside, inbox, system, coordinator, count)
        yield story
        opened += story.apis.values()
    finally:
        for api in opened:
            await api.close()
        await inbox.stop()
        await asyncio.to_thread(server.stop)
        if orthanc:
            await asyncio.to_thread(orthanc.stop)


def _pacs(console: Console, folder: Path, lakeside: Lakeside) -> tuple[Orthanc | None, int | None]:
    """Start Orthanc with Maria's CT, and a study that carries her number but another birth date."""
    reason = installed()
    if reason:
        console.note(f"No imaging in this run: {reason}")
        return None, None
    orthanc = Orthanc(folder)
    try:
        orthanc.start()
    except OrthancUnavailable as error:
        console.note(f"No imaging in this run: {error}")
        return None, None
    started = (lakeside.now - timedelta(days=8)).replace(microsecond=0, tzinfo=None)
    chest = Study("00483921", "Alvarez^Maria^Elena", date(1961, 4, 12), "A26-11873", started=started)
    mixed_up = replace(chest, birth_date=date(1973, 9, 30), accession="A26-11999", slices=4, size=128, salt="mixed-up")
    total = chest.slices + 2
    with console.progress("CT slices drawn and stored in the hospital's Orthanc", total + mixed_up.slices + 2) as bar:
        for number, file in enumerate((*instances(chest), *instances(mixed_up)), 1):
            orthanc.store([file])
            bar.to(number)
    console.note(f"Orthanc holds a chest CT of {chest.slices} slices and two scouts, made for this demo")
    return orthanc, total


async def _links(story: Story) -> None:
    terminal = story.console.terminal
    link = await sign_in_link(story, f"/app/cases/{story.case}")
    pdf = story.server.folder / "report.pdf"
    pdf.write_bytes(await report_pdf(story))
    terminal.print()
    terminal.print(f"  case page   {link}", soft_wrap=True)
    terminal.print("              [dim](the link signs you in once, as the coordinator)[/]")
    terminal.print(f"  report      {pdf}", soft_wrap=True)
    terminal.print(f"  FHIR        {story.server.url}/fhir/Task/{story.case}", soft_wrap=True)
    terminal.print(f"  log         {story.server.log}", soft_wrap=True)


async def _until_interrupted(console: Console) -> None:
    console.terminal.print("\nEverything stays up until Ctrl-C.")
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()
    console.terminal.print("Stopping.")
