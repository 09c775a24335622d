from __future__ import annotations

import base64

import pytest

from vordr.formats import FormatError, checkpoint, merkle
from vordr.formats.checkpoint import Checkpoint

# The example of c2sp.org/tlog-checkpoint.
TEXT = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
ROOT = base64.b64decode("CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=")


def test_the_example_of_the_specification_is_read_and_written() -> None:
    parsed = checkpoint.parse(TEXT)
    assert parsed == Checkpoint("example.com/behind-the-sofa", 20852163, ROOT)
    assert parsed.to_text() == TEXT


def test_extension_lines_are_kept() -> None:
    parsed = checkpoint.parse(TEXT + "boot 7\nother\n")
    assert parsed.extensions == ("boot 7", "other")
    assert parsed.to_text() == TEXT + "boot 7\nother\n"


def test_an_empty_log_has_the_empty_root() -> None:
    empty = Checkpoint("log", 0, merkle.EMPTY_ROOT)
    assert checkpoint.parse(empty.to_text()) == empty
    with pytest.raises(FormatError):
        Checkpoint("log", 0, ROOT)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        TEXT[:-1],
        "log\n1\n",
        TEXT + "\n",
        "\n" + TEXT,
        TEXT.replace("20852163", "020852163"),
        TEXT.replace("20852163", "+20852163"),
        TEXT.replace("20852163", "-1"),
        TEXT.replace("20852163", " 1"),
        TEXT.replace("20852163", "1_0"),
        TEXT.replace("20852163", "٣"),
        TEXT.replace("20852163", "9223372036854775808"),
        TEXT.replace("20852163", ""),
        TEXT.replace("2I=", "2J="),
        TEXT.replace("q2I=", "q2I"),
        TEXT.replace("CsUY", ""),
        TEXT.replace("\n2085", "\r\n2085"),
    ],
)
def test_malformed_checkpoints_are_refused(text: str) -> None:
    with pytest.raises(FormatError):
        checkpoint.parse(text)


@pytest.mark.parametrize(
    ("origin", "size", "root", "extensions"),
    [
        ("", 1, ROOT, ()),
        ("a\nb", 1, ROOT, ()),
        ("a", -1, ROOT, ()),
        ("a", 2**63, ROOT, ()),
        ("a", 1, ROOT[:-1], ()),
        ("a", 1, ROOT, ("",)),
        ("a", 1, ROOT, ("b\nc",)),
    ],
)
def test_what_a_line_cannot_carry_makes_no_checkpoint(
    origin: str, size: int, root: bytes, extensions: tuple[str, ...]
) -> None:
    with pytest.raises(FormatError):
        Checkpoint(origin, size, root, extensions)


def test_a_checkpoint_may_be_of_the_largest_tree() -> None:
    largest = checkpoint.Checkpoint("origin", merkle.MAX_SIZE, bytes(32))
    assert checkpoint.parse(largest.to_text()) == largest
