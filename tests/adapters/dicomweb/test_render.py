import io
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.encaps import generate_frames
from pydicom.pixels.processing import convert_color_space

from adapters.dicomweb.dicomjson import to_json
from adapters.dicomweb.frames import frame_table
from adapters.dicomweb.look import Look
from adapters.dicomweb.part10 import read_header
from adapters.dicomweb.render import Renderer
from fhir_server.kernel.errors import NotAcceptable

folder = Path(pydicom.__file__).parent / "data" / "test_files"
png = Look(kind="image/png")


def load(name):
    raw = (folder / name).read_bytes()
    header = read_header(memoryview(raw))
    return raw, header, to_json(header)


def frames_of(raw, header, dataset):
    table = frame_table(header.pixels, dataset.get("00280008", {}).get("Value", [1])[0])
    return [b"".join(raw[start : start + size] for start, size in frame) for frame in table]


@pytest.fixture(scope="module")
def renderer():
    opened = Renderer()
    yield opened
    opened.close()


@pytest.mark.parametrize(
    "name",
    [
        *("JPEG2000.dcm", "MR_small_RLE.dcm", "rtdose_rle.dcm", "SC_rgb_rle_2frame.dcm", "SC_rgb_jpeg_dcmtk.dcm"),
        *("SC_rgb_gdcm_KY.dcm", "examples_ybr_color.dcm", "J2K_pixelrep_mismatch.dcm"),
    ],
)
def test_every_encoded_frame_is_found_where_pydicom_finds_it(name):
    raw, header, dataset = load(name)
    theirs = pydicom.dcmread(folder / name)
    frames = int(theirs.get("NumberOfFrames", 1))
    assert frames_of(raw, header, dataset) == list(generate_frames(theirs.PixelData, number_of_frames=frames))


@pytest.mark.parametrize("name", ["SC_rgb_rle.dcm", "SC_rgb_rle_2frame.dcm"])
async def test_encoded_colour_is_decoded_in_the_child_as_pydicom_decodes_it(renderer, name):
    raw, header, dataset = load(name)
    for number, frame in enumerate(frames_of(raw, header, dataset)):
        image = await renderer.render(frame, dataset, header.transfer_syntax, png)
        theirs = pydicom.dcmread(folder / name).pixel_array
        expected = theirs[number] if theirs.ndim == 4 else theirs
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(image))), expected)


async def test_encoded_grey_is_windowed(renderer):
    raw, header, dataset = load("MR_small_RLE.dcm")
    (frame,) = frames_of(raw, header, dataset)
    image = await renderer.render(frame, dataset, header.transfer_syntax, Look((600, 1600), "image/png"))
    theirs = pydicom.dcmread(folder / "MR_small_RLE.dcm").pixel_array.astype(float)
    expected = np.clip((theirs - (600 - 0.5 - 1599 / 2)) * 255 / 1599, 0, 255)
    assert np.abs(np.asarray(Image.open(io.BytesIO(image))) - expected).max() <= 1


async def test_native_ybr_is_shown_in_its_colours(renderer):
    colours = np.random.default_rng(1).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    dataset = {
        "00280002": {"vr": "US", "Value": [3]},
        "00280004": {"vr": "CS", "Value": ["YBR_FULL"]},
        "00280010": {"vr": "US", "Value": [8]},
        "00280011": {"vr": "US", "Value": [8]},
        "00280100": {"vr": "US", "Value": [8]},
    }
    frame = convert_color_space(colours, "RGB", "YBR_FULL").tobytes()
    image = await renderer.render(frame, dataset, "1.2.840.10008.1.2.1", png)
    assert np.abs(np.asarray(Image.open(io.BytesIO(image))).astype(int) - colours).max() <= 2


async def test_a_frame_no_codec_can_read_is_refused_and_the_next_one_is_rendered(renderer):
    raw, header, dataset = load("MR_small_RLE.dcm")
    (frame,) = frames_of(raw, header, dataset)
    for broken in (b"", b"\xff" * 1000, frame[:70]):
        with pytest.raises(NotAcceptable):
            await renderer.render(broken, dataset, header.transfer_syntax, png)
    assert await renderer.render(frame, dataset, header.transfer_syntax, png)


@pytest.mark.parametrize(("rows", "columns"), [(65535, 65535), (0, 64), ("x", 64)])
async def test_a_size_that_cannot_be_is_refused_before_anything_is_decoded(renderer, rows, columns):
    raw, header, dataset = load("MR_small_RLE.dcm")
    (frame,) = frames_of(raw, header, dataset)
    lying = {**dataset, "00280010": {"vr": "US", "Value": [rows]}, "00280011": {"vr": "US", "Value": [columns]}}
    with pytest.raises(NotAcceptable):
        await renderer.render(frame, lying, header.transfer_syntax, png)


async def test_a_child_that_dies_is_replaced(renderer):
    raw, header, dataset = load("MR_small_RLE.dcm")
    (frame,) = frames_of(raw, header, dataset)
    await renderer.render(frame, dataset, header.transfer_syntax, png)
    for process in list(renderer._pool._processes.values()):
        process.kill()
        process.join()
    assert await renderer.render(frame, dataset, header.transfer_syntax, png)
