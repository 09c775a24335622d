"""config.json: a pure function of what was asked for, the image and the host."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from vordr.model.errors import RuntimeNotFound, UsageError
from vordr.model.spec import ContainerSpec, IdRange, NetworkMode
from vordr.model.state import ImageConfig
from vordr.runtime import ociconfig, seccomp
from vordr.runtime.cgroups import container_group
from vordr.runtime.probe import CgroupLayout, HostFacts
from vordr.runtime.users import UserIds

ID = "0123456789abcdef" * 4
IDS = IdRange(1_000_000, 65536)
FACTS = HostFacts(
    euid=0,
    capabilities=(1 << 41) - 1,
    nodename="host",
    kernel=(6, 18),
    release="6.18",
    architecture="x86_64",
    cgroup=CgroupLayout.V2,
    controllers=frozenset({"memory", "cpu", "pids"}),
    swap_limits=True,
    runtimes=(),
    conmon=None,
    skopeo=None,
    mkfs_erofs=None,
    nft=None,
    catatonit=Path("/usr/bin/catatonit"),
    erofs=True,
    overlay=True,
    idmapped=True,
    user_namespaces=True,
    cgroup_namespaces=True,
    seccomp=True,
    fsverity=False,
)
IMAGE = ImageConfig(
    entrypoint=("/entry",), command=("serve",), environment=("A=image", "B=image"), workdir="/srv"
)


def build(
    image: ImageConfig = IMAGE,
    facts: HostFacts = FACTS,
    user: UserIds | None = None,
    environment: dict[str, str] | None = None,
    etc: Path | None = None,
    ids: IdRange = IDS,
    **wishes: Any,
) -> dict[str, Any]:
    return ociconfig.build(
        ContainerSpec(**wishes),
        image,
        id=ID,
        rootfs=Path("/run/vordr/c/rootfs"),
        ids=ids,
        environment=environment or {},
        cgroup=container_group(ID),
        seccomp=seccomp.profile("x86_64"),
        facts=facts,
        user=user or UserIds(home="/root"),
        etc=etc,
    )


def env(config: dict[str, Any]) -> dict[str, str]:
    return dict(entry.split("=", 1) for entry in config["process"]["env"])


@pytest.mark.parametrize(
    ("wishes", "expected"),
    [
        ({}, ["/entry", "serve"]),
        ({"command": ("other", "-v")}, ["/entry", "other", "-v"]),
        ({"entrypoint": ("/mine",)}, ["/mine"]),
        ({"entrypoint": ("/mine",), "command": ("x",)}, ["/mine", "x"]),
        ({"entrypoint": (), "command": ("x",)}, ["x"]),
    ],
)
def test_command_follows_dockers_rules_of_entrypoint_and_command(
    wishes: dict[str, Any], expected: list[str]
) -> None:
    assert build(**wishes)["process"]["args"] == expected


@pytest.mark.parametrize("image", [ImageConfig(), ImageConfig(command=("",))])
def test_no_command_at_all_is_a_usage_error(image: ImageConfig) -> None:
    with pytest.raises(UsageError, match="no command"):
        build(image)


def test_cleared_entrypoint_without_command_is_a_usage_error() -> None:
    with pytest.raises(UsageError):
        build(entrypoint=())


def test_own_environment_wins_over_the_images_and_that_over_defaults() -> None:
    image = ImageConfig(command=("x",), environment=("A=image", "B=image", "PATH=/opt", "broken", "=x"))
    found = env(build(image, environment={"A": "own", "C": "a=b"}))
    assert (found["A"], found["B"], found["PATH"], found["C"]) == ("own", "image", "/opt", "a=b")
    assert "broken" not in found and "" not in found


def test_home_comes_from_the_account_unless_the_user_says_otherwise() -> None:
    assert env(build(user=UserIds(home="/home/ann")))["HOME"] == "/home/ann"
    assert env(build(environment={"HOME": "/x"}))["HOME"] == "/x"


def test_term_is_set_with_a_terminal_only() -> None:
    assert env(build(tty=True))["TERM"] == "xterm"
    assert "TERM" not in env(build())
    assert env(build())["container"] == "vordr"


def test_hostname_defaults_to_the_short_id_and_to_the_hosts_on_its_network() -> None:
    assert build()["hostname"] == ID[:12]
    assert build(hostname="web")["hostname"] == "web"
    assert build(network=NetworkMode.HOST)["hostname"] == "host"


def test_every_container_has_a_user_namespace_in_which_no_id_is_host_root() -> None:
    linux = build()["linux"]
    assert {"type": "user"} in linux["namespaces"]
    for kind in ("uidMappings", "gidMappings"):
        assert linux[kind] == [{"containerID": 0, "hostID": IDS.first, "size": IDS.count}]


def test_all_namespaces_are_own_and_only_the_hosts_network_is_shared_on_request() -> None:
    def kinds(config: dict[str, Any]) -> set[str]:
        return {entry["type"] for entry in config["linux"]["namespaces"]}

    everything = {"user", "pid", "mount", "ipc", "uts", "network", "cgroup"}
    assert kinds(build()) == everything
    assert kinds(build(network=NetworkMode.HOST)) == everything - {"network"}
    assert "sysctl" not in build(network=NetworkMode.HOST)["linux"]


def test_privileges_are_few_and_cannot_grow() -> None:
    process = build()["process"]
    assert process["noNewPrivileges"] is True
    assert set(process["capabilities"]) == {"bounding", "effective", "permitted"}
    held = {name for names in process["capabilities"].values() for name in names}
    assert not held & {
        "CAP_SYS_ADMIN",
        "CAP_NET_RAW",
        "CAP_MKNOD",
        "CAP_SYS_CHROOT",
        "CAP_AUDIT_WRITE",
        "CAP_SETFCAP",
    }


def test_exec_gets_the_same_privileges_as_the_container() -> None:
    process = ociconfig.process_for_exec(
        ("sh",),
        IMAGE,
        spec=ContainerSpec(workdir="/w"),
        id=ID,
        environment={"A": "x"},
        facts=FACTS,
        user=UserIds(7, 8, (9,)),
        tty=True,
    )
    container = build()["process"]
    assert (process["capabilities"], process["noNewPrivileges"]) == (container["capabilities"], True)
    assert process["user"] == {"uid": 7, "gid": 8, "additionalGids": [9], "umask": 0o022}
    assert (process["cwd"], process["args"], process["terminal"]) == ("/w", ["sh"], True)


def test_exec_without_a_command_is_a_usage_error() -> None:
    with pytest.raises(UsageError):
        ociconfig.process_for_exec(
            (), IMAGE, spec=ContainerSpec(), id=ID, environment={}, facts=FACTS, user=UserIds(), tty=False
        )


def test_limits_become_resources_and_swap_is_not_on_top_of_memory() -> None:
    found = build(memory=64 << 20, cpu_millis=1500, pids_limit=7)["linux"]["resources"]
    assert found["memory"] == {"limit": 64 << 20, "swap": 64 << 20}
    assert found["cpu"] == {"quota": 150_000, "period": 100_000}
    assert found["pids"] == {"limit": 7}


def test_swap_is_left_alone_where_it_is_not_accounted() -> None:
    facts = dataclasses.replace(FACTS, swap_limits=False)
    assert build(facts=facts, memory=64 << 20)["linux"]["resources"]["memory"] == {"limit": 64 << 20}


def test_processes_are_limited_by_default() -> None:
    assert build()["linux"]["resources"]["pids"] == {"limit": 2048}


@pytest.mark.parametrize(
    ("wish", "option"),
    [({"memory": 64 << 20}, "--memory"), ({"cpu_millis": 5}, "--cpus"), ({"pids_limit": 5}, "--pids")],
)
def test_a_limit_that_nothing_here_can_hold_is_refused_not_ignored(wish: dict[str, int], option: str) -> None:
    with pytest.raises(UsageError, match=option):
        build(facts=dataclasses.replace(FACTS, controllers=frozenset()), **wish)


def test_default_process_limit_is_dropped_where_it_cannot_be_held() -> None:
    facts = dataclasses.replace(FACTS, controllers=frozenset())
    assert "pids" not in build(facts=facts)["linux"]["resources"]


def test_device_rules_are_left_out_where_their_program_cannot_be_loaded() -> None:
    unprivileged = dataclasses.replace(FACTS, capabilities=0)
    assert "devices" not in build(facts=unprivileged)["linux"]["resources"]
    legacy = dataclasses.replace(unprivileged, cgroup=CgroupLayout.HYBRID)
    assert build(facts=legacy)["linux"]["resources"]["devices"] == [{"allow": False, "access": "rwm"}]


def test_init_runs_the_command_under_catatonit_bound_read_only() -> None:
    config = build(init=True)
    assert config["process"]["args"] == ["/dev/init", "--", "/entry", "serve"]
    mount = next(mount for mount in config["mounts"] if mount["destination"] == "/dev/init")
    assert mount["source"] == "/usr/bin/catatonit" and "ro" in mount["options"]


def test_init_without_catatonit_says_what_to_install() -> None:
    with pytest.raises(RuntimeNotFound) as refused:
        build(facts=dataclasses.replace(FACTS, catatonit=None), init=True)
    assert refused.value.remedy == "apt-get install -y catatonit"


def test_etc_files_are_bound_and_read_only_with_the_root() -> None:
    def access(config: dict[str, Any]) -> dict[str, str]:
        return {
            m["destination"]: m["options"][-1]
            for m in config["mounts"]
            if m["destination"].startswith("/etc/")
        }

    etc = Path("/run/x/etc")
    names = ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf")
    assert access(build(etc=etc)) == dict.fromkeys(names, "rw")
    assert access(build(etc=etc, read_only=True)) == dict.fromkeys(names, "ro")
    assert build(read_only=True)["root"]["readonly"] is True


def test_a_small_range_still_gives_valid_devpts_options() -> None:
    options = next(m for m in build(ids=IdRange(5000, 3))["mounts"] if m["destination"] == "/dev/pts")[
        "options"
    ]
    assert not any(option.startswith("gid=") for option in options)


def test_ids_that_are_not_container_ids_are_refused() -> None:
    for bad in ("x", "../" + "a" * 61, ID[:-1] + "G", ID + "\n"):
        with pytest.raises(UsageError):
            container_group(bad)


def test_rules_are_for_one_architecture_and_refuse_what_reaches_the_kernel_at_large() -> None:
    profile = seccomp.profile("x86_64")
    allowed = {
        name
        for rule in profile["syscalls"]
        if rule["action"] == "SCMP_ACT_ALLOW" and "args" not in rule
        for name in rule["names"]
    }
    assert profile["architectures"] == ["SCMP_ARCH_X86_64"]
    assert not allowed & {
        "bpf",
        "keyctl",
        "add_key",
        "userfaultfd",
        "io_uring_setup",
        "clone",
        "clone3",
        "unshare",
        "setns",
        "mount",
        "pivot_root",
        "open_by_handle_at",
        "perf_event_open",
        "kexec_load",
        "init_module",
        "socket",
    }
    clone3 = next(rule for rule in profile["syscalls"] if rule["names"] == ["clone3"])
    assert (clone3["action"], clone3["errnoRet"]) == ("SCMP_ACT_ERRNO", 38)
    assert "arch_prctl" in allowed and "riscv_flush_icache" not in allowed


def test_no_system_call_is_named_by_two_unconditional_rules() -> None:
    for machine in ("x86_64", "aarch64", "riscv64"):
        names = [
            n for rule in seccomp.profile(machine)["syscalls"] if "args" not in rule for n in rule["names"]
        ]
        assert len(names) == len(set(names))
