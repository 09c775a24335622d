"""The strict tar reader: it agrees with other readers where it accepts, and refuses where readers differ."""

from __future__ import annotations

import io
import tarfile

import pytest
from images_world import FOLDER, LINK, SYMLINK, entry, tar_of

from vordr.images.tarstream import BLOCK, Member, TarInvalid, Type, members


def read_all(tar: bytes) -> list[tuple[Member, bytes]]:
    stream = io.BytesIO(tar)
    return [(member, b"".join(content)) for member, content in members(stream.read)]


def with_header(tar: bytes, **fields: bytes) -> bytes:
    """The first header of ``tar`` with raw fields replaced (name of field -> bytes) and its checksum
    mended.
    """
    places = {"mode": 100, "size": 124, "mtime": 136, "type": 156, "link": 157, "magic": 257, "prefix": 345}
    header = bytearray(tar[:BLOCK])
    for name, value in fields.items():
        header[places[name] : places[name] + len(value)] = value
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + tar[BLOCK:]


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_of_every_common_format_are_read_as_tarfile_wrote_them(format: int) -> None:
    name = "folder/" + "n" * 90 if format == tarfile.USTAR_FORMAT else "long/" * 40 + "n" * 150
    tar = tar_of(
        entry("folder/", type=FOLDER, mode=0o1755),
        entry(name, b"content" * 200, mode=0o4755, uid=7, gid=9),
        entry("s", type=SYMLINK, linkname="../elsewhere"),
        entry("h", type=LINK, linkname=name),
        format=format,
    )
    folder, file, symlink, link = (member for member, _ in read_all(tar))
    assert (folder.name.rstrip(b"/"), folder.type, folder.mode) == (b"folder", Type.DIRECTORY, 0o1755)
    assert (file.name.decode(), file.mode, file.uid, file.gid, file.size) == (name, 0o4755, 7, 9, 1400)
    assert file.mtime == 1_000_000_000 * 10**9
    assert (symlink.type, symlink.link) == (Type.SYMLINK, b"../elsewhere")
    assert (link.type, link.link.decode()) == (Type.HARD_LINK, name)
    assert read_all(tar)[1][1] == b"content" * 200


def test_numbers_too_large_for_octal_digits_are_read_in_both_dialects() -> None:
    for format in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        member = read_all(tar_of(entry("big", uid=2**31, gid=2**22), format=format))[0][0]
        assert (member.uid, member.gid) == (2**31, 2**22)


def test_pax_times_keep_their_nanoseconds_on_both_sides_of_the_epoch() -> None:
    texts = ("12.000000001", "-1.5", "7")
    tars = [tar_of(entry("f", pax_headers={"mtime": text})) for text in texts]
    assert [read_all(tar)[0][0].mtime for tar in tars] == [12_000_000_001, -1_500_000_000, 7_000_000_000]


def test_binary_attributes_survive() -> None:
    value = bytes(range(256))
    headers = {"SCHILY.xattr.user.x": value.decode("utf-8", "surrogateescape")}
    assert read_all(tar_of(entry("f", pax_headers=headers)))[0][0].xattrs == {"user.x": value}


def test_content_that_nobody_reads_is_skipped() -> None:
    stream = io.BytesIO(tar_of(entry("a", b"x" * 1000), entry("b", b"y")))
    assert [member.name for member, _ in members(stream.read)] == [b"a", b"b"]


def test_an_archive_may_end_without_an_end_mark_and_have_bytes_after_one() -> None:
    whole = tar_of(entry("a", b"x"))
    assert len(read_all(whole[: 2 * BLOCK])) == 1
    assert len(read_all(whole + b"junk" * 300)) == 1
    assert read_all(b"") == []


ONE = tar_of(entry("a", b"x" * 600), format=tarfile.USTAR_FORMAT)
PAX = tar_of(entry("a", pax_headers={"comment": "c"}))
BROKEN = {
    "cut in a header": ONE[:300],
    "cut in content": ONE[: BLOCK + 500],
    "cut in padding": ONE[: BLOCK + 700],
    "flipped bit": bytes([ONE[0] ^ 1]) + ONE[1:],
    "not a tar": b"#!/bin/sh\n" * 200,
    "half an end mark": ONE[: 3 * BLOCK] + bytes(BLOCK) + ONE,
    "size not octal": with_header(ONE, size=b"0000000008x\0"),
    "negative size": with_header(ONE, size=b"\xff" * 12),
    "size beyond 63 bits": with_header(ONE, size=b"\x80" + b"\xff" * 11),
    "sparse": with_header(ONE, type=b"S"),
    "multi-volume": with_header(ONE, type=b"M"),
    "contiguous": with_header(ONE, type=b"7"),
    "vendor type": with_header(ONE, type=b"Z"),
    "symlink with content": with_header(ONE, type=b"2", link=b"x"),
    "hard link with content": with_header(ONE, type=b"1", link=b"x"),
    "pax record without length": PAX[:BLOCK] + b"x" + PAX[BLOCK + 1 :],
    "pax record with a wrong length": PAX[:BLOCK] + PAX[BLOCK:].replace(b"13 comment", b"14 comment", 1),
    "pax without a member": PAX[: 2 * BLOCK] + bytes(2 * BLOCK),
    "two pax headers": PAX[: 2 * BLOCK] + PAX,
    "huge pax header": with_header(PAX, size=b"77777777777\0"),
    "pax size not a number": tar_of(entry("a", pax_headers={"size": "-1"})),
    "pax time not a time": tar_of(entry("a", pax_headers={"mtime": "1e9"})),
    "pax sparse file": tar_of(entry("a", pax_headers={"GNU.sparse.major": "1"})),
    "NUL in a pax path": tar_of(entry("a", pax_headers={"path": "a\0b"})),
}


@pytest.mark.parametrize("tar", BROKEN.values(), ids=BROKEN.keys())
def test_what_readers_could_read_differently_is_refused(tar: bytes) -> None:
    with pytest.raises(TarInvalid):
        read_all(tar)


def test_the_same_pax_keyword_twice_is_refused() -> None:
    record = b"10 path=b\n"
    tar = bytearray(tar_of(entry("a", pax_headers={"path": "bb" * 60})))
    tar[BLOCK : 2 * BLOCK] = (record * 2).ljust(BLOCK, b"\0")
    header = with_header(bytes(tar[:BLOCK]), size=b"%011o\0" % 20)
    with pytest.raises(TarInvalid, match="twice"):
        read_all(header + bytes(tar[BLOCK:]))
