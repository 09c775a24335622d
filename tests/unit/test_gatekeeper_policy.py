"""trust/policy.toml."""

from __future__ import annotations

from pathlib import Path

import pytest

from vordr.gatekeeper.policy import DEFAULT, Policy, Require, load, parse
from vordr.model.errors import ConfigInvalid, ConfigUnparsable


def test_policy_without_a_file_is_the_default(tmp_path: Path) -> None:
    assert load(tmp_path / "policy.toml") == DEFAULT == Policy()


def test_every_key_is_read() -> None:
    text = 'require = "published"\ndistinct_log_operators = 3\nallow_host_network = true\nverdict_ttl = 60\n'
    assert parse(text) == Policy(Require.PUBLISHED, 3, True, 60)


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ('require = "signed"', "require"),
        ("require = true", "require"),
        ("distinct_log_operators = 0", "distinct_log_operators"),
        ("distinct_log_operators = true", "distinct_log_operators"),
        ('distinct_log_operators = "2"', "distinct_log_operators"),
        ("allow_host_network = 1", "allow_host_network"),
        ('allow_host_network = "false"', "allow_host_network"),
        ("verdict_ttl = 3601", "verdict_ttl"),
        ("verdict_ttl = 1.5", "verdict_ttl"),
        ("alow_host_network = false", "alow_host_network"),
        ("[require]\nx = 1", "require"),
    ],
)
def test_wrong_line_is_named_with_its_key_and_number(line: str, key: str) -> None:
    with pytest.raises(ConfigInvalid, match=f"policy.toml:3: .*{key}") as refusal:
        parse(f"# the operator's policy\n\n{line}\n")
    assert refusal.value.details["key"] == key


def test_text_that_is_not_toml_is_refused_with_its_line() -> None:
    with pytest.raises(ConfigUnparsable, match="line 2"):
        parse("# ok\nrequire =\n")


def test_policy_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_bytes(b'require = "\xff"')
    with pytest.raises(ConfigUnparsable, match="policy.toml"):
        load(tmp_path / "policy.toml")


def test_unreadable_policy_is_not_taken_for_the_default(tmp_path: Path) -> None:
    (tmp_path / "policy.toml").mkdir()
    with pytest.raises(ConfigInvalid, match="cannot be read"):
        load(tmp_path / "policy.toml")


def test_digest_changes_with_every_field() -> None:
    variants = [Policy(), Policy(Require.PUBLISHED), Policy(distinct_log_operators=2),
                Policy(allow_host_network=True), Policy(verdict_ttl=1)]
    assert len({one.digest for one in variants}) == len(variants)
    assert parse("# only a comment").digest == DEFAULT.digest
