"""vordr inspect: docker's shape, Svalinn's shape, templates."""

from __future__ import annotations

import json

import pytest
from cli_engine import MANIFEST, MemoryEngine, Program, assert_valid, container, image

from vordr.model.lifecycle import State
from vordr.model.spec import ContainerSpec, RestartMode, RestartPolicy


def world() -> MemoryEngine:
    spec = ContainerSpec(
        command=("-v",), memory=64 << 20, cpu_millis=1500, environment={"SECRET": "hmac-sha256:00"},
        labels={"a": "b"}, restart=RestartPolicy(RestartMode.ON_FAILURE, 3))
    web = container(spec=spec, arguments=("/bin/hello", "-v"))
    return MemoryEngine(web, container("db", State.STOPPED, exit_code=4), images=[image()])


def test_inspect_is_a_list_in_dockers_shape(capfd):
    (told,) = json.loads(Program(world(), capfd)("inspect", "web").out)
    assert (told["Name"], told["State"]["Status"], told["State"]["Running"]) == ("/web", "running", True)
    assert (told["Path"], told["Args"]) == ("/bin/hello", ["-v"])
    assert told["HostConfig"]["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 3}
    assert (told["HostConfig"]["Memory"], told["HostConfig"]["NanoCpus"]) == (64 << 20, 1_500_000_000)
    assert told["Vordr"]["StateDigest"].startswith("sha256:")


def test_inspect_shows_names_of_variables_and_never_values(capfd):
    (told,) = json.loads(Program(world(), capfd)("inspect", "web").out)
    assert told["Config"]["Env"] == ["SECRET"]


@pytest.mark.parametrize(("form", "shown"), [
    ("{{.State.ExitCode}}", "4"), ("{{.Name}} {{json .State.Running}}", "/db false"),
    ("{{range $name, $_ := .NetworkSettings.Networks}}{{$name}}{{end}}", "none"),
    ('{{index .Config.Labels "nope"}}', "<no value>"), ("{{len .Id}}", "64"),
])
def test_templates_use_dockers_names(capfd, form, shown):
    assert Program(world(), capfd)("inspect", "-f", form, "db").out == f"{shown}\n"


def test_json_of_one_container_is_container_info_v1(capfd):
    told = json.loads(Program(world(), capfd)("inspect", "--json", "web").out)
    assert_valid(told, "container-info.v1.json")
    assert told["labels"] == {"a": "b"}


def test_json_of_several_is_a_list(capfd):
    told = json.loads(Program(world(), capfd)("inspect", "--json", "web", "db").out)
    assert [each["name"] for each in told] == ["web", "db"]


def test_what_is_found_is_shown_though_another_name_is_unknown(capfd):
    outcome = Program(world(), capfd)("inspect", "web", "nope")
    assert [each["Name"] for each in json.loads(outcome.out)] == ["/web"]
    assert outcome.code == 71


@pytest.mark.parametrize("name", ["hello", "docker.io/library/hello:latest", MANIFEST, MANIFEST[7:19]])
def test_images_are_found_by_name_and_digest(capfd, name):
    (told,) = json.loads(Program(world(), capfd)("inspect", name).out)
    assert (told["Id"], told["RepoTags"]) == (MANIFEST, ["hello:latest"])


def test_image_inspect_looks_for_no_container(capfd):
    engine = world()
    assert Program(engine, capfd)("image", "inspect", "web").code == 32
    assert engine.of("inspect") == []
