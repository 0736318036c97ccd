import re
import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.dicomweb.multipart import (
    MalformedMultipart,
    MultipartReader,
    PartData,
    PartEnd,
    PartHead,
    boundary_of,
)

boundary = b"b0-x"
heads = st.dictionaries(
    st.sampled_from(["content-type", "content-length", "x-a"]), st.sampled_from(["application/dicom", "12", "a:b"])
)
near_delimiters = st.sampled_from([b"\r\n--b0-x", b"--b0-x", b"\r\n--b0-xy", b"\r\n", b"\r", b"--b0-x--", b"\r\n--b0"])
bodies = st.lists(st.one_of(st.binary(max_size=40), near_delimiters), max_size=5).map(b"".join)


def safe(body: bytes) -> bool:
    """A body that holds a whole delimiter line cannot be sent; what only looks like one can."""
    joined = b"\r\n" + body + b"\r\n--b0-x\r\n"
    return len(re.findall(rb"\r\n--b0-x(?=--|[ \t]*\r\n)", joined)) == 1


def encode(parts: list[tuple[dict[str, str], bytes]]) -> bytes:
    out = b""
    for head, body in parts:
        lines = "".join(f"{name}: {value}\r\n" for name, value in head.items()).encode()
        out += b"\r\n--" + boundary + b"\r\n" + lines + b"\r\n" + body
    return out + b"\r\n--" + boundary + b"--\r\nepilogue"


def decode(body: bytes, cuts: list[int]) -> list[tuple[dict[str, str], bytes]]:
    reader, found = MultipartReader(boundary), []
    edges = sorted({0, len(body), *(cut % (len(body) + 1) for cut in cuts)})
    for start, end in pairwise(edges):
        for event in reader.feed(body[start:end]):
            if isinstance(event, PartHead):
                found.append([event.headers, b"", False])
            elif isinstance(event, PartData):
                found[-1][1] += event.data
            else:
                assert isinstance(event, PartEnd)
                found[-1][2] = True
    reader.close()
    assert all(part[2] for part in found)
    return [(part[0], part[1]) for part in found]


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(heads, bodies.filter(safe)), max_size=4), st.lists(st.integers(0, 10_000), max_size=30))
def test_parts_come_back_byte_for_byte_wherever_the_chunks_are_cut(parts, cuts):
    assert decode(encode(parts), cuts) == parts


@given(st.lists(st.tuples(heads, bodies.filter(safe)), min_size=1, max_size=3))
@settings(max_examples=60, deadline=None)
def test_one_byte_at_a_time_gives_the_same_parts(parts):
    body = encode(parts)
    assert decode(body, list(range(len(body)))) == parts


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=10))
def test_garbage_is_refused_or_read_but_never_crashes(garbage, cuts):
    try:
        decode(garbage, cuts)
    except MalformedMultipart:
        return


def test_every_truncation_is_noticed():
    body = encode([({"content-type": "application/dicom"}, b"abc" * 10), ({}, b"")])
    for length in range(len(body) - len(b"\r\nepilogue")):
        with pytest.raises(MalformedMultipart):
            decode(body[:length], [length // 2])


def test_a_part_without_blank_content_ends_at_the_delimiter():
    assert decode(b"--b0-x\r\na: b\r\n\r\n--b0-x--", []) == [({"a": "b"}, b"")]


def test_an_endless_head_is_refused():
    reader = MultipartReader(boundary)
    with pytest.raises(MalformedMultipart):
        for _ in range(10):
            list(reader.feed(b"--b0-x\r\n" + b"x: " + b"y" * 10_000))


def test_memory_and_time_stay_linear_on_a_long_part_full_of_near_delimiters():
    reader, chunk, seen = MultipartReader(boundary), b"\r\n--b0-" * 8192, 0
    list(reader.feed(b"--b0-x\r\n\r\n"))
    start = time.perf_counter()
    for _ in range(300):
        for event in reader.feed(chunk):
            seen += len(event.data)
        assert len(reader._buffer) < 200
    assert seen > 299 * len(chunk)
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize("text", ["application/json", "multipart/related", "", "multipart/related; boundary="])
def test_a_content_type_without_boundary_is_refused(text):
    with pytest.raises(MalformedMultipart):
        boundary_of(text)


def test_a_quoted_boundary_is_understood():
    assert boundary_of('multipart/related; type="application/dicom"; boundary="a b=c"') == b"a b=c"
