"""What people type becomes a spec, or is refused with the reason."""

import msgspec
import pytest

from vordr.formats import canonical
from vordr.model.errors import UsageError
from vordr.model.spec import (
    LARGEST_LIMIT,
    ContainerSpec,
    RestartMode,
    RestartPolicy,
    check_name,
    check_spec,
    parse_cpus,
    parse_restart,
    parse_signal,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("", RestartPolicy()), ("no", RestartPolicy()), ("always", RestartPolicy(RestartMode.ALWAYS)),
        ("unless-stopped", RestartPolicy(RestartMode.UNLESS_STOPPED)),
        ("on-failure", RestartPolicy(RestartMode.ON_FAILURE)),
        ("on-failure:3", RestartPolicy(RestartMode.ON_FAILURE, 3)),
        ("on-failure:0", RestartPolicy(RestartMode.ON_FAILURE, 0)),
    ])
def test_restart_policies(text, policy):
    assert parse_restart(text) == policy


@pytest.mark.parametrize("text", ["sometimes", "always:3", "on-failure:", "on-failure:x", "on-failure:-1",
                                  "on-failure:²", "no:1", "Always"])
def test_bad_restart_policies(text):
    with pytest.raises(UsageError):
        parse_restart(text)


@pytest.mark.parametrize(
    ("text", "size"), [("0", 0), ("123", 123), ("5b", 5), ("2k", 2048), ("64m", 64 << 20), ("64MB", 64 << 20),
                       ("64MiB", 64 << 20), ("1g", 1 << 30), ("1T", 1 << 40), (" 1g ", 1 << 30)])
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "g", "-1", "1.5g", "1x", "1 g", "١m", "9" * 40])
def test_bad_sizes(text):
    with pytest.raises(UsageError):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "millis"), [("1", 1000), ("1.5", 1500), (".25", 250), ("0.001", 1), ("16", 16000)])
def test_cpus(text, millis):
    assert parse_cpus(text) == millis


@pytest.mark.parametrize("text", ["", "0", "0.000", "-1", "1.2345", "1e3", "٣", "9" * 20, "1."])
def test_bad_cpus(text):
    with pytest.raises(UsageError):
        parse_cpus(text)


@pytest.mark.parametrize(("text", "number"), [("TERM", 15), ("SIGTERM", 15), ("term", 15), (9, 9), ("9", 9)])
def test_signals(text, number):
    assert parse_signal(text) == number


@pytest.mark.parametrize("text", ["", "0", "65", "NOPE", "²", "-9", "SIGSIGTERM", "1٣"])
def test_bad_signals(text):
    with pytest.raises(UsageError):
        parse_signal(text)


@pytest.mark.parametrize("name", ["web", "a", "Web.1_x-y", "0" * 63, "x" * 128])
def test_names(name):
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", "-web", ".web", "a/b", "a b", "ä", "x" * 129, "0" * 64, "web\n"])
def test_bad_names(name):
    with pytest.raises(UsageError):
        check_name(name)


@pytest.mark.parametrize(
    ("wish", "word"),
    [
        ({"memory": 1024}, "--memory"), ({"memory": 2**60}, "--memory"), ({"pids_limit": 0}, "--pids-limit"),
        ({"cpu_millis": 5}, "--cpus"), ({"stop_timeout": -1}, "--stop-timeout"),
        ({"stop_timeout": 10**9}, "--stop-timeout"), ({"workdir": "tmp"}, "absolute"),
        ({"environment": {"A=B": "x"}}, "environment"), ({"environment": {"": "x"}}, "environment"),
        ({"command": ("a\0b",)}, "NUL"), ({"stop_signal": "NOPE"}, "signal"),
        ({"auto_remove": True, "restart": RestartPolicy(RestartMode.ALWAYS)}, "--rm"),
        ({"restart": RestartPolicy(RestartMode.ON_FAILURE, -1)}, "--restart"),
    ])
def test_wishes_that_do_not_fit_together_are_refused_naming_the_option(wish, word):
    with pytest.raises(UsageError, match=word):
        check_spec(ContainerSpec(**wish))


def test_a_spec_survives_canonical_json():
    spec = check_spec(ContainerSpec(command=("a", "ü"), memory=LARGEST_LIMIT, environment={"A": "hmac"}))
    plain = canonical.loads(canonical.dumps(msgspec.to_builtins(spec)))
    assert msgspec.convert(plain, ContainerSpec) == spec
