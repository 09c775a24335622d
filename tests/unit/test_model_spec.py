"""What people type becomes a spec, or is refused with the reason and, where that is short, what mends it."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from struct_tables import by_name_only

from vordr.formats import canonical
from vordr.model.errors import UsageError
from vordr.model.spec import (
    LARGEST_LIMIT,
    LARGEST_SPEC,
    LONGEST_STOP,
    LONGEST_TEXT,
    ContainerSpec,
    IdRange,
    NetworkMode,
    RestartMode,
    RestartPolicy,
    check_environment,
    check_exec,
    check_name,
    check_size,
    check_spec,
    check_text,
    parse_cpus,
    parse_restart,
    parse_signal,
    parse_size,
)

ALWAYS, ON_FAILURE = RestartMode.ALWAYS, RestartMode.ON_FAILURE
# No int is made of as many digits (Python refuses 4301 with a ValueError), and no message quotes them all.
MANY_DIGITS = "9" * 5000
SURROGATE = "\udcff"  # what Python makes of a byte that is not UTF-8


def refusal(check: Callable[..., object], *values: object) -> UsageError:
    """The refusal of these values, which is a UsageError."""
    with pytest.raises(UsageError) as caught:
        check(*values)
    return caught.value


def plain(value: object) -> str:
    """A test's id without escapes."""
    return "".join(c if c.isascii() and c.isprintable() and c != "\\" else "?" for c in str(value))[:40]


def spec(**wish: Any) -> ContainerSpec:
    return ContainerSpec(**wish)


# -- what is typed ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("", RestartPolicy()), ("no", RestartPolicy()), ("always", RestartPolicy(ALWAYS)),
        ("unless-stopped", RestartPolicy(RestartMode.UNLESS_STOPPED)),
        ("on-failure", RestartPolicy(ON_FAILURE)),
        ("on-failure:3", RestartPolicy(ON_FAILURE, 3)),
        ("on-failure:0", RestartPolicy(ON_FAILURE, 0)),
    ], ids=plain)
def test_restart_policies(text: str, policy: RestartPolicy) -> None:
    assert parse_restart(text) == policy


@pytest.mark.parametrize("text", [
    "always:3", "on-failure:", "on-failure:x", "on-failure:-1", "on-failure:²", "on-failure:1:2",
    "no:1", ":1", f"on-failure:{MANY_DIGITS}",
], ids=plain)
def test_a_number_of_retries_that_is_none_or_has_no_place_is_refused_with_an_example(text: str) -> None:
    assert "on-failure:3" in refusal(parse_restart, text).message


@pytest.mark.parametrize("text", ["sometimes", "Always", " no"], ids=plain)
def test_an_unknown_restart_policy_is_refused_naming_it_and_those_that_there_are(text: str) -> None:
    error = refusal(parse_restart, text)
    assert repr(text) in error.message
    assert error.remedy is not None and all(str(mode) in error.remedy for mode in RestartMode)


@pytest.mark.parametrize("text", ["no", "always", "unless-stopped", "on-failure", "on-failure:3"])
def test_a_restart_policy_is_shown_as_it_is_typed(text: str) -> None:
    assert str(parse_restart(text)) == text


@pytest.mark.parametrize(
    ("text", "size"), [("0", 0), ("123", 123), ("5b", 5), ("2k", 2048), ("64m", 64 << 20), ("64MB", 64 << 20),
                       ("64MiB", 64 << 20), ("1g", 1 << 30), ("1T", 1 << 40), (" 1g ", 1 << 30),
                       ("9" * 16, 10**16 - 1)], ids=plain)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "g", "-1", "1.5g", "1x", "1 g", "١m", "9" * 17, "1gg"], ids=plain)
def test_a_bad_size_is_refused_naming_it_with_an_example(text: str) -> None:
    error = refusal(parse_size, text)
    assert repr(text) in error.message and "64m" in str(error.remedy)


@pytest.mark.parametrize(
    ("text", "millis"), [("1", 1000), ("1.5", 1500), (".25", 250), ("0.001", 1), ("16", 16000),
                         ("9" * 9, (10**9 - 1) * 1000)], ids=plain)
def test_cpus(text: str, millis: int) -> None:
    assert parse_cpus(text) == millis


@pytest.mark.parametrize("text", ["", "-1", "1.2345", "1e3", "٣", "9" * 10, "1.", "."], ids=plain)
def test_a_bad_number_of_cpus_is_refused_naming_it_with_an_example(text: str) -> None:
    error = refusal(parse_cpus, text)
    assert repr(text) in error.message and "1.5" in str(error.remedy)


@pytest.mark.parametrize("text", ["0", "0.000", ".0"])
def test_no_cpu_at_all_is_refused(text: str) -> None:
    assert refusal(parse_cpus, text).message == "--cpus must be more than 0"


@pytest.mark.parametrize(
    ("text", "number"),
    [("TERM", 15), ("SIGTERM", 15), ("term", 15), (9, 9), ("9", 9), ("1", 1), ("SIGHUP", 1), ("009", 9),
     (str(int(signal.SIGRTMAX)), int(signal.SIGRTMAX)), ("RTMAX", int(signal.SIGRTMAX))], ids=plain)
def test_signals(text: str | int, number: int) -> None:
    assert parse_signal(text) == number


@pytest.mark.parametrize("text", [
    "", "0", str(signal.SIGRTMAX + 1), signal.SIGRTMAX + 1, "NOPE", "²", "-9", "SIGSIGTERM", "1٣", "SIG9",
], ids=plain)
def test_a_bad_signal_is_refused_naming_it_with_an_example(text: str | int) -> None:
    error = refusal(parse_signal, text)
    assert repr(str(text)) in error.message and "TERM" in str(error.remedy)


def test_more_digits_than_an_int_takes_are_no_signal() -> None:
    assert "signal" in refusal(parse_signal, MANY_DIGITS).message


@pytest.mark.parametrize(
    "name", ["web", "a", "Web.1_x-y", "0" * 63, "0" * 65, "A" * 64, "g" * 64, "x" * 128], ids=plain)
def test_names(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "-web", ".web", "_web", "a/b", "a b", "ä", "x" * 129, "web\n"], ids=plain)
def test_a_bad_name_is_refused_naming_it_with_what_one_is(name: str) -> None:
    error = refusal(check_name, name)
    assert repr(name[:80]) in error.message and "128" in str(error.remedy)


@pytest.mark.parametrize("name", ["0" * 64, "0123456789abcdef" * 4])
def test_a_name_that_could_be_an_id_is_refused(name: str) -> None:
    assert refusal(check_name, name).message == f"container name {name!r} looks like a container id"


# -- texts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["", "a", "ü\n\x01", "x" * LONGEST_TEXT, "ü" * (LONGEST_TEXT // 2)], ids=len)
def test_texts_that_execve_takes_pass_unchanged(word: str) -> None:
    assert check_text(word) == word


def test_a_text_may_have_as_many_bytes_as_execve_takes_with_its_nul() -> None:
    assert LONGEST_TEXT + 1 == 32 * 4096  # MAX_ARG_STRLEN, 32 pages
    assert refusal(check_text, "x" * (LONGEST_TEXT + 1)).message == (
        "an argument of 131072 bytes is longer than 131071")
    assert "131072 bytes" in refusal(check_text, "ü" * (LONGEST_TEXT // 2 + 1)).message


def test_the_name_and_value_of_a_variable_have_as_many_bytes_together_as_execve_takes() -> None:
    check_environment({"A": "x" * (LONGEST_TEXT - 2)})
    check_environment({"AÄ": "ü" * ((LONGEST_TEXT - 4) // 2) + "x"})
    for name, value in [("A", "x" * (LONGEST_TEXT - 1)), ("A", "ü" * (LONGEST_TEXT // 2)),
                        ("AÄ", "x" * (LONGEST_TEXT - 3)), ("Ä" * (LONGEST_TEXT // 2), "x")]:
        assert refusal(check_environment, {name: value}).message == (
            f"the environment variable {name[:80]!r} is longer than 131071 bytes")


def test_the_name_of_a_variable_is_a_text_as_every_other() -> None:
    assert "not valid UTF-8" in refusal(check_environment, {f"A{SURROGATE}": "x"}).message
    assert "an argument of 131072 bytes" in refusal(check_environment, {"A" * (LONGEST_TEXT + 1): ""}).message


@pytest.mark.parametrize("name", ["", "A=B", "=", "A\0"], ids=plain)
def test_a_variable_without_a_name_that_execve_takes_is_refused_naming_it(name: str) -> None:
    assert refusal(check_environment, {name: "x"}).message == f"invalid environment variable name {name!r}"


def test_a_bad_value_of_a_variable_is_refused_by_the_variables_name_and_never_shown() -> None:
    for value, what in [(f"secret{SURROGATE}", "not valid UTF-8"), ("secret\0", "NUL byte")]:
        message = refusal(check_environment, {"TOKEN": value}).message
        assert "'TOKEN'" in message and what in message and "secret" not in message
    assert "secret" not in refusal(check_environment, {"TOKEN": "secret" * LONGEST_TEXT}).message


def test_every_variable_is_looked_at() -> None:
    check_environment({})
    check_environment({"A": "", "B": "x=y", "c.d": "ü"})
    assert "'B'" in refusal(check_environment, {"A": "fine", "B": "\0"}).message


def test_words_together_may_have_160_kib_with_a_byte_for_each() -> None:
    assert LARGEST_SPEC == 160 * 1024
    check_size(iter(["x" * (LARGEST_SPEC - 3), "x"]))
    check_size(["ü" * ((LARGEST_SPEC - 1) // 2)])
    for words in (["x" * (LARGEST_SPEC - 3), "xx"], ["x" * (LARGEST_SPEC - 3), "x", ""]):
        size = sum(len(word) + 1 for word in words)
        assert refusal(check_size, words).message == (
            f"command, labels and names of {size} bytes; at most 163840 are allowed")
    assert "bytes; at most" in refusal(check_size, ["ü" * (LARGEST_SPEC // 2)]).message


# -- exec -------------------------------------------------------------------------------------------


def test_an_exec_that_a_process_can_be_given_passes() -> None:
    check_exec(["sh", "-c", ""], {"A": "b"}, None, None)
    check_exec([], {}, "", "/")
    check_exec(["x"], {}, "1000:1000", "/tmp")


@pytest.mark.parametrize(
    ("command", "environment", "user", "workdir", "what"),
    [
        (["a", "b\0"], {}, None, None, "a NUL byte is not allowed in 'b\\x00'"),
        (["a"], {}, "u\0", None, "a NUL byte is not allowed in 'u\\x00'"),
        (["a"], {}, None, "/w\0", "a NUL byte is not allowed in '/w\\x00'"),
        (["a"], {}, None, "tmp", "working directory 'tmp' must be absolute"),
        (["a"], {}, None, "", "working directory '' must be absolute"),
        (["a"], {"A=": ""}, None, None, "invalid environment variable name 'A='"),
        (["a"], {"A": "\0"}, None, None, "a NUL byte is not allowed in the environment variable 'A'"),
    ], ids=["command", "user", "workdir", "relative", "empty", "name", "value"])
def test_an_exec_that_no_process_can_be_given_is_refused(
    command: list[str], environment: dict[str, str], user: str | None, workdir: str | None, what: str
) -> None:
    assert refusal(check_exec, command, environment, user, workdir).message == what


def test_the_command_of_an_exec_and_its_variables_names_are_bounded_together() -> None:
    rest = LARGEST_SPEC - LONGEST_TEXT - 1 - 2  # what one word of the longest and one of one letter leave
    check_exec(["x" * LONGEST_TEXT, "x" * (rest - 1)], {"A": "y" * 1000}, "user", "/work")
    assert "at most" in refusal(check_exec, ["x" * LONGEST_TEXT, "x" * rest], {"A": ""}, None, None).message


# -- a whole spec -----------------------------------------------------------------------------------

LEAST: dict[str, Any] = {
    "memory": 6 * 1024 * 1024, "pids_limit": 1, "cpu_millis": 10, "stop_timeout": 0, "command": ("",),
    "restart": RestartPolicy(ON_FAILURE, 0), "workdir": "/", "hostname": "a", "stop_signal": "1",
}
MOST: dict[str, Any] = {
    "memory": LARGEST_LIMIT, "pids_limit": LARGEST_LIMIT, "cpu_millis": LARGEST_LIMIT,
    "stop_timeout": LONGEST_STOP, "restart": RestartPolicy(ON_FAILURE, LARGEST_LIMIT),
    "hostname": "a" + "b-.Z" * 15 + "b0", "stop_signal": "SIGRTMAX", "user": "u" * LONGEST_TEXT,
}


@pytest.mark.parametrize("wish", [{}, LEAST, MOST], ids=["nothing", "least", "most"])
def test_a_spec_with_all_at_its_bounds_passes_unchanged(wish: dict[str, Any]) -> None:
    assert check_spec(ContainerSpec(**wish)) == ContainerSpec(**wish)


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"memory": 6 * 1024 * 1024 - 1}, "--memory must be at least 6m"),
        ({"memory": LARGEST_LIMIT + 1}, "--memory is too large"),
        ({"pids_limit": 0}, "--pids-limit must be at least 1"),
        ({"pids_limit": LARGEST_LIMIT + 1}, "--pids-limit is too large"),
        ({"cpu_millis": 9}, "--cpus must be at least 0.01"),
        ({"cpu_millis": LARGEST_LIMIT + 1}, "--cpus is too large"),
        ({"stop_timeout": -1}, "--stop-timeout must be from 0 to 86400 seconds"),
        ({"stop_timeout": LONGEST_STOP + 1}, "--stop-timeout must be from 0 to 86400 seconds"),
        ({"workdir": "tmp"}, "working directory 'tmp' must be absolute"),
        ({"workdir": ""}, "working directory '' must be absolute"),
        ({"environment": {"A=B": "x"}}, "invalid environment variable name 'A=B'"),
        ({"environment": {"": "x"}}, "invalid environment variable name ''"),
        ({"stop_signal": "NOPE"}, "unknown signal 'NOPE'"), ({"stop_signal": ""}, "unknown signal ''"),
        ({"auto_remove": True, "restart": RestartPolicy(ALWAYS)}, "--rm and --restart exclude each other"),
        ({"restart": RestartPolicy(ON_FAILURE, -1)}, f"--restart: retries must be from 0 to {2**52}"),
        ({"restart": RestartPolicy(ON_FAILURE, 2**52 + 1)}, f"--restart: retries must be from 0 to {2**52}"),
        ({"restart": RestartPolicy(ALWAYS, 1)}, "--restart: only on-failure takes a number of retries"),
    ], ids=plain)
def test_a_wish_beyond_its_bounds_is_refused_naming_the_option(wish: dict[str, Any], message: str) -> None:
    assert refusal(check_spec, ContainerSpec(**wish)).message == message


def test_of_rm_and_restart_each_may_stand_alone_and_both_say_what_to_do() -> None:
    check_spec(spec(auto_remove=True))
    check_spec(spec(restart=RestartPolicy(ALWAYS)))
    error = refusal(check_spec, spec(auto_remove=True, restart=RestartPolicy(ON_FAILURE)))
    assert error.remedy == "leave one of them out"


@pytest.mark.parametrize("name", ["", "-a", "a-", ".a", "a.", "a_b", "ä", "a b", "a" * 64, "a\n"], ids=plain)
def test_a_bad_host_name_is_refused_naming_it_with_what_one_is(name: str) -> None:
    error = refusal(check_spec, spec(hostname=name))
    assert error.message == f"invalid host name {name!r}" and "63" in str(error.remedy)


@pytest.mark.parametrize(
    "wish",
    [{"command": ("ok", "a\0b")}, {"entrypoint": ("a\0b",)}, {"user": "a\0b"}, {"hostname": "a\0b"},
     {"labels": {"a\0b": "x"}}, {"labels": {"x": "a\0b"}}],
    ids=["command", "entrypoint", "user", "hostname", "label", "labels-value"])
def test_every_text_of_a_spec_is_looked_at(wish: dict[str, Any]) -> None:
    assert refusal(check_spec, ContainerSpec(**wish)).message == "a NUL byte is not allowed in 'a\\x00b'"
    assert "NUL" in refusal(check_spec, spec(workdir="/\0")).message
    assert "not valid UTF-8" in refusal(check_spec, spec(environment={SURROGATE: ""})).message


@pytest.mark.parametrize("wish", [{}, {"user": "", "workdir": "/"}, {
    "entrypoint": ("e", ""), "user": "uu", "hostname": "hhh", "workdir": "/w", "environment": {"E": "digest"},
    "labels": {"l": "value", "m": ""}}], ids=["command", "empty", "everything"])
def test_all_texts_of_a_spec_are_bounded_together(wish: dict[str, Any]) -> None:
    # user, host name and working directory count a byte also where they are not there
    words = [wish.get("user", ""), wish.get("hostname", ""), wish.get("workdir", ""),
             *wish.get("entrypoint", ()), *wish.get("environment", {}),
             *(word for pair in wish.get("labels", {}).items() for word in pair)]
    rest = LARGEST_SPEC - sum(len(word) + 1 for word in words) - (LONGEST_TEXT + 1) - 1
    check_spec(ContainerSpec(command=("x" * LONGEST_TEXT, "x" * rest), **wish))
    beyond = ContainerSpec(command=("x" * LONGEST_TEXT, "x" * (rest + 1)), **wish)
    assert f"of {LARGEST_SPEC + 1} bytes" in refusal(check_spec, beyond).message


LONG = "ü" * 81


@pytest.mark.parametrize(
    ("check", "values"),
    [
        (parse_restart, (LONG,)), (parse_restart, (f"on-failure:{LONG}",)), (parse_size, (LONG,)),
        (parse_cpus, (LONG,)), (parse_signal, (LONG,)), (check_name, (LONG,)),
        (check_text, (LONG + SURROGATE,)), (check_text, (LONG + "\0",)),
        (check_environment, ({LONG + "=": ""},)), (check_environment, ({LONG: SURROGATE},)),
        (check_environment, ({LONG: "\0"},)), (check_environment, ({LONG: "x" * LONGEST_TEXT},)),
        (check_exec, ((), {}, None, LONG)), (check_spec, (spec(workdir=LONG),)),
        (check_spec, (spec(environment={LONG + "=": ""}),)), (check_spec, (spec(hostname=LONG),)),
        (check_spec, (spec(stop_signal=LONG),)),
    ], ids=lambda value: getattr(value, "__name__", "-"))
def test_a_refusal_quotes_80_characters_of_what_it_refuses(
    check: Callable[..., object], values: tuple[object, ...]
) -> None:
    shown = "on-failure:" + LONG[:69] if values == (f"on-failure:{LONG}",) else LONG[:80]
    assert f"'{shown}'" in refusal(check, *values).message


# -- what is kept -----------------------------------------------------------------------------------


def test_a_spec_of_nothing_asks_for_no_network_no_restart_and_no_privilege() -> None:
    assert canonical.dumps(msgspec.to_builtins(ContainerSpec())) == (
        b'{"auto_remove":false,"command":[],"cpu_millis":null,"entrypoint":null,"environment":{},'
        b'"hostname":null,"init":false,"labels":{},"memory":null,"network":"none","pids_limit":null,'
        b'"read_only":false,"restart":{"mode":"no","retries":0},"stdin":false,"stop_signal":null,'
        b'"stop_timeout":10,"tty":false,"user":null,"workdir":null}')
    assert ContainerSpec().network is NetworkMode.NONE
    assert IdRange(100_000) == IdRange(100_000, 65536)


def test_modes_are_written_as_docker_writes_them() -> None:
    assert [str(mode) for mode in NetworkMode] == ["none", "host"]
    assert [str(mode) for mode in RestartMode] == ["no", "on-failure", "always", "unless-stopped"]


def test_a_spec_cannot_be_changed_and_is_made_by_name() -> None:
    assert all(struct.__struct_config__.frozen for struct in (ContainerSpec, RestartPolicy, IdRange))
    assert by_name_only(ContainerSpec)


def test_a_spec_survives_canonical_json() -> None:
    kept = check_spec(spec(command=("a", "ü"), memory=LARGEST_LIMIT, environment={"A": "hmac"}))
    plain = canonical.loads(canonical.dumps(msgspec.to_builtins(kept)))
    assert msgspec.convert(plain, ContainerSpec) == kept
