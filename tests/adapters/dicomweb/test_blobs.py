import os
from pathlib import Path

from adapters.dicomweb.blobs import Blobs


async def test_a_blob_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    blobs = Blobs.open(tmp_path)
    staged = blobs.stage()
    staged.write(b"bytes")
    staged.close(sync=False)  # as reading its header does
    synced, fsync = [], os.fsync

    def spy(descriptor):
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", spy)
    sha256 = await blobs.keep(staged)
    assert synced[0] == str(staged.path)
    assert [chunk async for chunk in blobs.chunks(sha256)] == [b"bytes"]


async def test_what_a_killed_worker_left_is_swept_and_what_is_under_way_is_not(tmp_path):
    blobs = Blobs.open(tmp_path)
    old, young = blobs.stage(), blobs.stage()
    old.close(sync=False)
    os.utime(old.path, (1000, 1000))
    assert blobs.sweep(3600, now=10_000) == 1
    assert not old.path.exists()
    assert young.path.exists()
    young.discard()
