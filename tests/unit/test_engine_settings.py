"""vordr.toml: the sample is the defaults, and what is not understood is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from vordr.engine import settings
from vordr.engine.settings import Settings
from vordr.model.errors import ConfigInvalid, ConfigUnparsable, VordrError

SAMPLE = Path(__file__).parents[2] / "config" / "vordr.toml"


def test_the_sample_file_states_the_defaults() -> None:
    assert settings.load(SAMPLE) == Settings()


def test_no_file_means_the_defaults(tmp_path: Path) -> None:
    assert settings.load(tmp_path / "vordr.toml") == Settings()


def test_values_are_taken() -> None:
    parsed = settings.parse('trash_days = 7\nruntime = "runc"\neffect_workers = 2')
    assert parsed == Settings(trash_days=7, runtime="runc", effect_workers=2)


@pytest.mark.parametrize(("text", "refusal"), [
    ("trash_days = ", ConfigUnparsable),
    ("trash_days = " + "[" * 9999 + "]" * 9999, ConfigUnparsable),
    ("trash_days = 0", ConfigInvalid),
    ("trash_days = 3651", ConfigInvalid),
    ("trash_days = true", ConfigInvalid),
    ('trash_days = "30"', ConfigInvalid),
    ('runtime = "kata"', ConfigInvalid),
    ("effect_workers = 1", ConfigInvalid),
    ("verify = false", ConfigInvalid),
    ("[gatekeeper]\nmode = 'off'", ConfigInvalid),
])
def test_what_is_not_understood_is_refused_with_the_place(text: str, refusal: type[VordrError]) -> None:
    with pytest.raises(refusal, match="vordr.toml"):
        settings.parse(text)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "vordr.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigUnparsable, match="not UTF-8"):
        settings.load(path)
