import io
import struct
import time
import warnings
import zlib
from decimal import Decimal
from pathlib import Path

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from adapters.dicomweb.dicomjson import to_json
from adapters.dicomweb.part10 import InvalidDicom, Limits, is_uid, read_header

corpus = sorted(
    path
    for path in (Path(pydicom.__file__).parent / "data").rglob("*")
    if path.is_file() and path.read_bytes()[128:132] == b"DICM"
)
refused = {
    "MR_truncated.dcm",
    "SC_rgb_jpeg.dcm",
    "DICOMDIR-nooffset",
    "meta_missing_tsyntax.dcm",
    "rtplan_truncated.dcm",
}
compared = ("00080018", "0020000D", "0020000E", "00100010", "00100020", "00100030", "00280010", "00281050", "00200032")


def parse(raw: bytes) -> dict:
    return to_json(read_header(memoryview(raw)))


def small(syntax=ExplicitVRLittleEndian, **attributes) -> bytes:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, "1.2.3"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2", "1.2.1"
    for name, value in attributes.items():
        setattr(dataset, name, value)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, "1.2.3"
    meta.TransferSyntaxUID = syntax
    target = io.BytesIO()
    FileDataset(target, dataset, file_meta=meta, preamble=bytes(128)).save_as(target, enforce_file_format=True)
    return target.getvalue()


def element(tag: int, vr: bytes, value: bytes, length: int | None = None) -> bytes:
    size = len(value) if length is None else length
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr
    return (
        head
        + (b"\0\0" + struct.pack("<I", size) if vr in (b"SQ", b"OW", b"UT", b"UN") else struct.pack("<H", size))
        + value
    )


@pytest.mark.parametrize("path", corpus, ids=lambda path: path.name)
def test_every_sample_reads_as_pydicom_reads_it_or_is_refused_for_a_reason(path):
    raw = path.read_bytes()
    if path.name in refused:
        with pytest.raises(InvalidDicom):
            parse(raw)
        return
    ours = parse(raw)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = pydicom.dcmread(path, stop_before_pixels=True).to_json_dict(suppress_invalid_tags=True)
    for tag in compared:
        assert _plain(ours.get(tag)) == _plain(theirs.get(tag)), tag


def _plain(attribute):
    found = []
    for value in (attribute or {}).get("Value") or []:
        if isinstance(value, dict):
            found.append({name: group.rstrip(" ^") for name, group in value.items() if group.rstrip(" ^")})
        else:
            found.append(float(value) if isinstance(value, int | float | Decimal) else (value or "").strip())
    return [value for value in found if value not in ("", {})]


def test_text_that_is_not_dicom_is_refused():
    for raw in (b"", b"hello" * 100, bytes(132), bytes(128) + b"DICM"):
        with pytest.raises(InvalidDicom):
            parse(raw)


def test_a_length_beyond_the_file_is_noticed():
    with pytest.raises(InvalidDicom, match="truncated"):
        parse(small() + element(0x00204000, b"UT", b"short", 0xFFFFFFF0))


@pytest.mark.parametrize("cut", [1, 10, 1000])
def test_pixels_that_are_cut_short_are_noticed(cut):
    raw = small(Rows=64, Columns=64, PixelData=bytes(64 * 64 * 2))
    with pytest.raises(InvalidDicom, match="truncated"):
        parse(raw[:-cut])


def test_a_deflate_bomb_stops_at_the_limit():
    raw = small(DeflatedExplicitVRLittleEndian)
    start = raw.index(b"1.2.840.10008.1.2.1.99") + 22
    bomb = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = bomb.compress(element(0x00204000, b"UT", bytes(200 * 1024 * 1024))) + bomb.flush()
    started = time.perf_counter()
    with pytest.raises(InvalidDicom, match="deflate-bomb"):
        parse(raw[:start] + packed)
    assert time.perf_counter() - started < 2


def test_a_sequence_nested_too_deeply_is_refused():
    body = b""
    for _ in range(500):
        body = element(0x00081140, b"SQ", struct.pack("<HHI", 0xFFFE, 0xE000, len(body)) + body)
    with pytest.raises(InvalidDicom, match="nested-too-deeply"):
        parse(small() + body)


def test_a_million_empty_elements_are_refused():
    with pytest.raises(InvalidDicom, match="too-many-elements"):
        parse(small() + element(0x00204000, b"LT", b"") * 1_000_000)


def test_a_header_of_many_large_values_is_refused():
    raw = small() + element(0x00204000, b"UT", bytes(1000)) * 100
    with pytest.raises(InvalidDicom, match="header-too-large"):
        read_header(memoryview(raw), Limits(total_bytes=50_000))


@pytest.mark.parametrize(
    "text", ["../../etc/passwd", "1.2\0", "", "1" * 65, "1..2", ".1", "1.2/3", "1.2\n", "\u0661.2"]
)
def test_what_is_no_uid_is_known_as_such(text):
    assert not is_uid(text)


def test_a_wrong_charset_never_loses_the_object():
    name = "Müller^Jörg".encode("latin-1")
    raw = small() + element(0x00080005, b"CS", b"ISO_IR 192") + element(0x00100010, b"PN", name + b" ")
    assert parse(raw)["00100010"]["Value"] == [{"Alphabetic": "Müller^Jörg"}]
    raw = small() + element(0x00080005, b"CS", b"KLINGON ") + element(0x00100010, b"PN", name + b" ")
    assert parse(raw)["00100010"]["Value"] == [{"Alphabetic": "Müller^Jörg"}]


def test_a_number_that_is_none_stays_as_text():
    found = parse(small() + element(0x00200013, b"IS", b"1.5 ") + element(0x00181151, b"IS", b"210 "))
    assert found["00200013"]["Value"] == ["1.5"]
    assert found["00181151"]["Value"] == [210]
    assert parse(small(KVP="120.50"))["00180060"]["Value"] == [Decimal("120.50")]


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), min_size=1, max_size=8), st.integers(0, 4000))
def test_damaged_bytes_are_read_or_refused_but_never_crash(syntax, damage, cut):
    item = Dataset()
    item.CodeValue, item.CodeMeaning = "1", "x"
    whole = bytearray(small(syntax, PatientName="A^B", ProcedureCodeSequence=[item], Rows=4, PixelData=bytes(32)))
    for position, byte in damage:
        whole[132 + position % (len(whole) - 132)] = byte
    try:
        parse(bytes(whole[: max(len(whole) - cut, 140)] if cut % 3 == 0 else whole))
    except InvalidDicom:
        return
