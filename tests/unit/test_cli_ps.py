"""vordr ps: docker's columns, formats and filters; Svalinn's JSON."""

from __future__ import annotations

import json

import pytest
from cli_engine import MINUTE, NOW, MemoryEngine, Program, assert_valid, container

from vordr.model.lifecycle import State
from vordr.model.spec import ContainerSpec


def world() -> MemoryEngine:
    return MemoryEngine(
        container("web", spec=ContainerSpec(command=("sleep", "1000000000000000"), labels={"app": "shop"})),
        container("db", State.PAUSED, created=NOW - 20 * MINUTE),
        container("old", State.STOPPED, exit_code=3, created=NOW - 30 * MINUTE),
    )


def test_the_plain_table_has_dockers_columns_newest_first(capfd):
    assert Program(world(), capfd)("ps", "-a").out.splitlines() == [
        "CONTAINER ID   IMAGE                            COMMAND                  CREATED          "
        "STATUS                     PORTS   NAMES",
        '10f0f0f0f0f0   docker.io/library/hello:latest   "sleep 1000000000000…"   10 minutes ago   '
        "Up 5 minutes                       web",
        '20f0f0f0f0f0   docker.io/library/hello:latest   ""                       20 minutes ago   '
        "Up 5 minutes (Paused)              db",
        'c0f0f0f0f0f0   docker.io/library/hello:latest   ""                       30 minutes ago   '
        "Exited (3) 2 minutes ago           old",
    ]


def test_an_empty_list_still_has_its_heading(capfd):
    assert Program(MemoryEngine(), capfd)("ps").out.startswith("CONTAINER ID   IMAGE")


def test_only_what_runs_is_shown_without_a(capfd):
    engine = world()
    assert "old" not in Program(engine, capfd)("ps").out
    assert not engine.of("list")[0].all


def test_quiet_prints_ids_and_no_trunc_whole_ones(capfd):
    assert Program(world(), capfd)("ps", "-q").out.splitlines() == ["10f0f0f0f0f0", "20f0f0f0f0f0"]
    full = Program(world(), capfd)("ps", "-q", "--no-trunc").out.splitlines()
    assert [len(line) for line in full] == [64, 64]


@pytest.mark.parametrize(("form", "first"), [
    ("{{.Names}}\\t{{.Status}}", "web\tUp 5 minutes"),
    ("{{.ID}}: {{.Image}}", "10f0f0f0f0f0: docker.io/library/hello:latest"),
    ('{{.Label "app"}}', "shop"),
    ("{{upper .Names}} {{.State}}", "WEB running"),
    ("{{if .Labels}}{{.Labels}}{{else}}none{{end}}", "app=shop"),
])
def test_go_templates(capfd, form, first):
    assert Program(world(), capfd)("ps", "--format", form).out.splitlines()[0] == first


def test_a_table_template_has_dockers_headings(capfd):
    form = "table {{.Names}}\\t{{.RunningFor}}\\t{{.State}}"
    out = Program(world(), capfd)("ps", "-a", "--format", form).out
    assert [line.split("  ")[0] for line in out.splitlines()] == ["NAMES", "web", "db", "old"]
    assert out.splitlines()[0].split() == ["NAMES", "CREATED", "STATE"]


def test_format_json_is_one_object_a_line(capfd):
    out = Program(world(), capfd)("ps", "--format", "json").out
    assert [json.loads(line)["Names"] for line in out.splitlines()] == ["web", "db"]


@pytest.mark.parametrize("form", ["{{.Nope}}", "{{.Names", "{{nope .Names}}", "{{if .Names}}"])
def test_a_template_that_makes_no_sense_is_a_usage_error(capfd, form):
    outcome = Program(world(), capfd)("ps", "--format", form)
    assert outcome.code == 2
    assert outcome.err.startswith("Error [ERR_USAGE]: template: ")


def test_json_is_containers_v1_and_each_item_container_info_v1(capfd):
    told = json.loads(Program(world(), capfd)("ps", "-a", "--json").out)
    assert_valid(told, "containers.v1.json")
    for item in told["containers"]:
        assert_valid(item, "container-info.v1.json")
    by_name = {item["name"]: item for item in told["containers"]}
    old = by_name["old"]
    assert (old["state"], old["exit_code"], old["pid"]) == ("stopped", 3, None)
    assert by_name["web"]["exit_code"] is None


def test_filters_reach_the_engine_and_some_mean_all_states(capfd):
    engine = world()
    Program(engine, capfd)("ps", "-f", "name=we", "--filter", "name=db", "-f", "status=exited")
    args = engine.of("list")[0]
    assert args.filters == {"name": ("we", "db"), "status": ("exited",)}
    assert args.all


def test_latest_is_the_newest_in_any_state(capfd):
    assert Program(world(), capfd)("ps", "-lq").out.splitlines() == ["10f0f0f0f0f0"]
    assert len(Program(world(), capfd)("ps", "-q", "-n", "3").out.splitlines()) == 3


def test_control_characters_in_a_command_are_spelt_out(capfd):
    engine = MemoryEngine(container(spec=ContainerSpec(command=("\x1b[31mred",))))
    assert "\\x1b[31mred" in Program(engine, capfd)("ps").out
