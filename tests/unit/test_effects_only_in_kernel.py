"""The code, walked: one module changes what runs, one issues verdicts, no switch turns verification off."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click

import vordr
from vordr.cli.app import program

PACKAGE = Path(vordr.__file__).parent
KERNEL = "actors/kernel.py"
DECIDE = "gatekeeper/decide.py"

# What may be used of runtime and images outside of them and of the kernel module: it only looks, or it is
# arithmetic. Names end in a dot where all of a module is so.
LOOKS = (
    "runtime.attach.connect_attach", "runtime.attach.resize", "runtime.cgroups.warm", "runtime.doctor.",
    "runtime.driver.choose", "runtime.exits.", "runtime.inotify.", "runtime.logs.",
    "runtime.ociconfig.command_of", "runtime.probe.", "images.generations.folder_size", "images.layout.",
    "images.local_layout.LayoutKind", "images.local_layout.kind_of", "images.local_layout.read_file",
    "images.referrers.", "images.rootfs_tar.DEFAULT_CONFIG", "images.store.ImageStore",
)
# Work on the store of images, which makes no process and mounts nothing, and who asks for it.
STORES = {
    "images.local_layout.import_layout": {"engine/handlers/images.py"},
    "images.local_layout.open_layout": {"engine/handlers/images.py"},
    "images.seal.seal_layer": {"engine/library.py"},
    "images.seal.remake": {"engine/aftermath.py"},
    "images.seal.remove_layer": {"actors/emptying.py"},
    "images.transport.pull": {"engine/intake.py"},
    "images.tree.delete": {"actors/emptying.py", "engine/sweeping.py"},
}
# Methods of the runtime's driver: called on anything that is called a driver.
DRIVING = {"start", "kill", "pause", "resume", "delete", "forget"}
# What of the environment is read at all, and where.
ENVIRONMENT = {
    "VORDR_ROOT": {"engine/opening.py", "cli/app.py", "cli/fast.py"},
    "VORDR_DEBUG": {"cli/app.py", "cli/fastjob.py"},
    "TERM": {"cli/columns.py"},
    "XDG_STATE_HOME": {"cli/shell.py"},
    "NOTIFY_SOCKET": {"service/sdnotify.py"},
    "WATCHDOG_USEC": {"service/sdnotify.py"},
    "WATCHDOG_PID": {"service/sdnotify.py"},
    # Where credentials for registries are, as containers-auth.json(5) says: what comes in, not what may run.
    **{name: {"images/registry_http.py"}
       for name in ("REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "HOME")},
}
# Passed on whole to a program, or to a container by name as the user asked; nothing is decided by it.
ENVIRONMENT_WHOLE = {"cli/columns.py", "cli/container_options.py", "cli/entry.py", "cli/fast.py",
                     "cli/fastrun.py", "images/seal.py", "images/skopeo.py", "service/keeper.py",
                     "service/sdnotify.py"}

MODULES = {str(path.relative_to(PACKAGE)): ast.parse(path.read_text(), str(path))
           for path in sorted(PACKAGE.rglob("*.py"))}


def used(tree: ast.Module) -> Iterator[str]:
    """Dotted names (without ``vordr.``) of what a module uses of runtime and images."""
    aliases: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("vordr"):
            for alias in node.names:
                name = f"{node.module}.{alias.name}".removeprefix("vordr.")
                if re.match(r"(runtime|images)\b", name):
                    if name.count(".") == 1:
                        aliases[alias.asname or alias.name] = name
                    else:
                        yield name
        elif isinstance(node, ast.Import):
            for alias in node.names:
                assert not re.match(r"vordr\.(runtime|images)", alias.name), "import names, not packages"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in aliases:
            yield f"{aliases[node.value.id]}.{node.attr}"


OUTSIDE = [name for name in MODULES if name != KERNEL and not name.startswith(("runtime/", "images/"))]


def test_only_the_kernel_module_uses_what_changes_the_host() -> None:
    wrong = [(module, name) for module in OUTSIDE for name in used(MODULES[module])
             if module not in STORES.get(name, ())
             and not any(name == look or (look.endswith(".") and name.startswith(look)) for look in LOOKS)]
    assert wrong == []


def test_the_walk_sees_what_the_kernel_module_does() -> None:
    found = set(used(MODULES[KERNEL]))
    assert {"runtime.conmon.run", "runtime.cleanup.reap", "images.rootfs.mount_rootfs"} <= found


def last_name(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Call(func=function):
            return last_name(function)
    return ""


def calls(tree: ast.Module) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def test_only_the_kernel_module_drives_the_runtime() -> None:
    wrong = [(module, ast.unparse(call)) for module in OUTSIDE for call in calls(MODULES[module])
             if isinstance(call.func, ast.Attribute) and call.func.attr in DRIVING
             and last_name(call.func.value).strip("_") == "driver"]
    assert wrong == []


def test_nothing_but_the_leaves_starts_programs() -> None:
    """Service and command line start the service itself, and nothing else. The gate before other engines'
    runtime becomes that runtime, and asks containerd by its client. The command line has a graph drawn."""
    starts = {"Popen", "posix_spawn", "posix_spawnp", "fork", "forkpty", "system", "execv", "execve"}
    found = {module for module, tree in MODULES.items() for call in calls(tree)
             if last_name(call.func) in starts
             or (isinstance(call.func, ast.Attribute) and ast.unparse(call.func).startswith("subprocess."))}
    others = {module for module in found if not module.startswith(("runtime/", "images/"))}
    assert others <= {
        "engine/opening.py", "service/keeper.py", "wrapper/gate.py", "wrapper/containerd.py",
        "cli/graphviz.py"}


# -- verdicts ------------------------------------------------------------------------------------------


def test_only_decide_issues_verdicts_and_nobody_makes_one_by_the_back_door() -> None:
    issuing = {module for module, tree in MODULES.items() for node in ast.walk(tree)
               if isinstance(node, ast.Attribute) and node.attr == "_issue"}
    assert issuing == {DECIDE}
    makers = {"__new__", "replace", "copy", "deepcopy", "setattr", "__setattr__"}
    back_doors = [(module, ast.unparse(call)) for module, tree in MODULES.items() for call in calls(tree)
                  if last_name(call.func) in makers
                  and any("verdict" in ast.unparse(argument).lower() for argument in call.args[:1])]
    assert back_doors == []


def test_every_process_is_made_with_a_verdict() -> None:
    launching = [(module, call) for module, tree in MODULES.items() for call in calls(tree)
                 if ast.unparse(call.func) in {"conmon.run", "rootfs.mount_rootfs"}]
    assert {module for module, _ in launching} == {KERNEL}
    assert len(launching) == 2
    for _, call in launching:
        given = [ast.unparse(argument) for argument in (*call.args, *(word.value for word in call.keywords))]
        assert "verdict" in given, ast.unparse(call)


# -- no way around it ----------------------------------------------------------------------------------


def environment_reads(tree: ast.Module) -> Iterator[str | None]:
    """Names of environment variables that a module reads; None where it takes them by a variable or whole."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=value, attr="get" | "pop" | "setdefault"),
                          args=[ast.Constant(value=str(name)), *_]) if ast.unparse(value) == "os.environ":
                yield name
            case ast.Subscript(value=value, slice=ast.Constant(value=str(name))) if (
                ast.unparse(value) == "os.environ"
            ):
                yield name
            case ast.Call(func=function, args=[ast.Constant(value=str(name)), *_]) if (
                last_name(function) == "getenv"
            ):
                yield name
            case ast.keyword(arg="envvar", value=ast.Constant(value=str(name))):
                yield name
            case ast.Attribute(attr="environ"):
                yield None


def test_no_environment_variable_decides_what_may_run() -> None:
    known = {where for places in ENVIRONMENT.values() for where in places} | ENVIRONMENT_WHOLE
    wrong = [(module, name) for module, tree in MODULES.items() for name in environment_reads(tree)
             if module not in (known if name is None else ENVIRONMENT.get(name, ()))]
    assert wrong == []


_AROUND = re.compile(
    r"(skip|disable|bypass|ignore|without|no|allow|unsafe|insecure)[-_ ]?"
    r"(verif|verdict|signature|attest|gatekeeper|seal|unsigned|untrusted|unverified)|"
    r"(verif\w*|signature|gatekeeper)[-_ ]?(off|disabled|optional)", re.IGNORECASE)


def _words(tree: ast.Module) -> Iterator[str]:
    """Names of arguments, parameters and attributes: what a caller could switch."""
    for node in ast.walk(tree):
        match node:
            case ast.arg(arg=name) | ast.keyword(arg=str(name)) | ast.AnnAssign(target=ast.Name(id=name)):
                yield name
            case ast.Constant(value=str(text)) if re.fullmatch(r"--[a-z-]+|[A-Z_]+|[a-z_]+", text):
                yield text


def test_no_name_in_the_code_speaks_of_going_around_verification() -> None:
    found = [(module, word) for module, tree in MODULES.items()
             for word in _words(tree) if _AROUND.search(word)]
    assert found == []


def _options(command: click.Command, ctx: click.Context) -> Iterator[str]:
    for parameter in command.params:
        yield from parameter.opts
    if isinstance(command, click.Group):
        for name in command.list_commands(ctx):
            below = command.get_command(ctx, name)
            assert below is not None
            yield from _options(below, ctx)


def test_no_option_of_the_command_line_goes_around_verification() -> None:
    options = set(_options(program, click.Context(program)))
    assert {"--rm", "--verify", "--mode"} <= options
    assert [option for option in options if _AROUND.search(option)] == []
    assert {option for option in options if "verif" in option} == {"--verify"}
