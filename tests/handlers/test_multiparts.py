import random

import pytest

from handlers.multiparts import FormReader, PartHead, find_boundary
from server.core.errors import InvalidParameters

HEADERS = b'Content-Disposition: form-data; name="%b"'


class Notes:
    """Notes the parts of a form."""

    def __init__(self) -> None:
        self.parts: list[tuple[PartHead, bytes]] = []
        self.ended = 0

    async def begin(self, head: PartHead) -> None:
        self.parts.append((head, b""))

    async def add(self, data: bytes) -> None:
        head, before = self.parts[-1]
        self.parts[-1] = head, before + data

    async def end(self) -> None:
        self.ended += 1


def form(*parts: tuple[bytes, bytes]) -> bytes:
    """Of the headers and the content of each part."""
    texts = (b"--limit\r\n%b\r\n\r\n%b\r\n" % part for part in parts)
    return b"".join(texts) + b"--limit--\r\n"


async def read(body: bytes, *cuts: int) -> Notes:
    notes = Notes()
    reader = FormReader(b"limit", notes)
    for start, end in zip((0, *cuts), (*cuts, len(body)), strict=True):
        await reader.feed(body[start:end])
    reader.check_ended()
    return notes


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("multipart/form-data; boundary=limit", b"limit"),
        ('Multipart/Form-Data; charset=utf-8; boundary="a b"', b"a b"),
        ("multipart/form-data", None),
        ("multipart/form-data; boundary=", None),
        (f"multipart/form-data; boundary={'x' * 71}", None),
        ("multipart/mixed; boundary=limit", None),
        ("application/json", None),
        (None, None),
    ],
)
def test_boundary_is_that_of_a_form(header: str | None, expected: bytes | None) -> None:
    assert find_boundary(header) == expected


@pytest.mark.gen_test
async def test_parts_are_told_wherever_the_network_cuts_them() -> None:
    content = b"\r\n--limi\r\n--limit\r" + bytes(range(256)) + b"\r\n-"
    file = HEADERS % b"attachment" + b'; filename="a.bin"\r\nContent-Type: image/png'
    body = form((HEADERS % b"data", b'{"a": 1}'), (file, content), (HEADERS % b"empty", b""))
    expected = [
        (PartHead("data", None, None), b'{"a": 1}'),
        (PartHead("attachment", "a.bin", "image/png"), content),
        (PartHead("empty", None, None), b""),
    ]
    chance = random.Random(4)
    ways = [(), tuple(range(1, len(body)))]
    ways += [tuple(sorted(chance.sample(range(1, len(body)), 5))) for _ in range(50)]
    for cuts in ways:
        notes = await read(body, *cuts)
        assert notes.parts == expected, cuts
        assert notes.ended == 3


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        (b'; filename="a.png"', "a.png"),
        (b"; filename=a.png", "a.png"),
        (b'; filename=""', ""),
        (b"", None),
        ('; filename="été ☃.png"'.encode(), "été ☃.png"),
        ('; filename="été.png"'.encode("latin-1"), "été.png"),
        (b"; filename*=UTF-8''%C3%A9.png", "é.png"),
        (b"; filename=plain.png; filename*=UTF-8''%C3%A9.png", "plain.png"),
        (b'; filename="a;b=c.png"', "a;b=c.png"),
        (b'; filename="a%22b.png"', 'a"b.png'),
        (b'; filename="a\\"b.png"', 'a"b.png'),
        (b'; filename="C:\\path\\a.png"', "C:\\path\\a.png"),
        (b'; filename="unclosed', "unclosed"),
    ],
)
@pytest.mark.gen_test
async def test_file_has_the_name_that_its_sender_gives_it(
    parameters: bytes, expected: str | None
) -> None:
    notes = await read(form((HEADERS % b"attachment" + parameters, b"x")))
    assert notes.parts[0][0].filename == expected
    assert notes.parts[0][0].name == "attachment"


@pytest.mark.gen_test
async def test_part_without_a_name_has_an_empty_one() -> None:
    notes = await read(form((b"Content-Type: text/plain", b"x")))
    assert notes.parts == [(PartHead("", None, "text/plain"), b"x")]


@pytest.mark.parametrize("length", [0, 5, 40, 90, -4, -1])
@pytest.mark.gen_test
async def test_form_that_is_cut_has_no_end(length: int) -> None:
    body = form((HEADERS % b"attachment" + b'; filename="a"', b"content")).rstrip()
    with pytest.raises(InvalidParameters, match="has no end"):
        await read(body[:length])


@pytest.mark.parametrize(
    "body",
    [
        b"nothing of the kind",
        b"--other\r\n\r\n\r\n--other--",
        b"--limit\r\nNo header\r\n\r\nx\r\n--limit--",
        b"--limit\r\n" + b"X: y\r\n" * 100 + b"\r\nx\r\n--limit--",
        b"--limit\r\nX: " + b"y" * 100_000 + b"\r\n\r\nx\r\n--limit--",
    ],
    ids=["text", "another boundary", "no header", "too many headers", "a long header"],
)
@pytest.mark.gen_test
async def test_body_that_is_no_form_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidParameters, match="malformed"):
        await read(body)


@pytest.mark.gen_test
async def test_form_without_parts_has_none() -> None:
    assert (await read(b"--limit--\r\n")).parts == []
