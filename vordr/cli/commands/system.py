"""``vordr system``: integrate, admit."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click

from vordr.cli.command import HELP, Command
from vordr.cli.context import Session
from vordr.cli.integration import (
    BEGIN,
    END,
    Block,
    Gate,
    engine_block,
    gate_block,
    is_empty,
    with_block,
    without_block,
)
from vordr.cli.output import print_json
from vordr.cli.shapes import plain
from vordr.cli.wording import printable
from vordr.gatekeeper import durable
from vordr.model.answers import AdmitAnswer
from vordr.model.arguments import AdmitArgs
from vordr.model.errors import ConfigInvalid, NotPrivileged

_ENGINES: Final = ("podman", "containerd", "crio")
_SEARCHED: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@click.group("system", context_settings=HELP)
def command() -> None:
    """Other engines of this host, and the gate before them."""


@command.command("integrate", cls=Command)
@click.option("--write", is_flag=True, help="Write the configuration instead of printing it.")
@click.option("--remove", is_flag=True, help="Take back what --write wrote.")
@click.option("--runtime", metavar="PATH", help="The real runtime.  [default: runc, else crun]")
@click.option("--launcher", metavar="PATH", help="vordr-runtime, where it is not beside vordr.")
@click.option("--prefix", metavar="DIR", default="/", type=click.Path(file_okay=False, resolve_path=True),
              help="Work on the files below DIR, as an image of another host.")
@click.argument("engine", metavar="podman|containerd|crio", type=click.Choice(_ENGINES))
@click.pass_obj
def integrate(
    session: Session, write: bool, remove: bool, runtime: str | None, launcher: str | None, prefix: str,
    engine: str,
) -> None:
    """Have another engine's containers judged before they are made.

    Prints the configuration that makes vordr-runtime that engine's default runtime, and the gate's own; with
    --write puts it there, with --remove takes it back. Running containers are not touched.
    """
    if write and remove:
        raise click.UsageError("--write and --remove cannot be had at once")
    if remove:
        changed = _remove(engine, Path(prefix))
    else:
        gate = Gate(_launcher(launcher), _runtime(runtime), sys.executable, _root(session))
        blocks = (gate_block(gate), engine_block(engine, gate))
        if not write:
            _print(session, blocks)
            return
        changed = _write(blocks, Path(prefix))
    if session.json:
        print_json({"changed": changed})
    else:
        print("\n".join(changed) or "nothing to change")


@command.command("admit", cls=Command)
@click.option("--engine", default="command line", metavar="NAME",
              help="Whose container it is, for the record.")
@click.option("--config", metavar="DIGEST", help="Digest of the image's configuration (podman's image id).")
@click.option("--manifest", metavar="DIGEST", help="Digest of the image's manifest.")
@click.argument("chain", metavar="CHAINID")
@click.argument("container", metavar="CONTAINER")
@click.pass_obj
def admit(
    session: Session, engine: str, config: str | None, manifest: str | None, chain: str, container: str
) -> None:
    """Ask for another engine's container what the gate asks; the answer is recorded as the gate's is.

    CHAINID is that of the layers which it is made of (with a single layer, that layer's diffID).
    """
    answer: AdmitAnswer = session.engine().call("admit", AdmitArgs(
        engine=engine, container=container, chain=chain, config=config, manifest=manifest)).answer
    if session.json:
        print_json(plain(answer))
    else:
        vouched = printable(answer.attested_by or "nobody")
        print(f"{answer.decision}: {answer.manifest}, attested by {vouched}")


def _print(session: Session, blocks: tuple[Block, ...]) -> None:
    if session.json:
        print_json({"files": [{"path": b.path, "text": b.text, "after": b.after} for b in blocks]})
        return
    for block in blocks:
        print(f"# {block.path}\n{BEGIN}\n{block.text}{END}\n")
    print(f"# then: {blocks[-1].after}")


def _write(blocks: tuple[Block, ...], prefix: Path) -> list[str]:
    """Both files are made in memory before one is written."""
    made = [(block, _below(prefix, block), _read(_below(prefix, block))) for block in blocks]
    # An operator's own configuration of the gate stands as it is.
    wanted = [(place, present, with_block(present, block)) for block, place, present in made
              if not (block is blocks[0] and present is not None and BEGIN not in present)]
    changed = []
    for place, present, whole in wanted:
        if whole != present:
            _replace(place, whole)
            changed.append(f"wrote {place}")
    return [*changed, f"then: {blocks[-1].after}"] if changed else []


def _remove(engine: str, prefix: Path) -> list[str]:
    nobody = Gate("/", "/", "/", "/")
    changed = _take_back(engine_block(engine, nobody), prefix)
    others = (engine_block(other, nobody) for other in _ENGINES if other != engine)
    if not any(BEGIN in (_read(_below(prefix, other)) or "") for other in others):
        changed += _take_back(gate_block(nobody), prefix)
    return changed


def _take_back(block: Block, prefix: Path) -> list[str]:
    place = _below(prefix, block)
    present = _read(place)
    if present is None or BEGIN not in present:
        return []
    rest = without_block(present)
    if is_empty(rest, block):
        _permitted(place, place.unlink)
        return [f"removed {place}"]
    _replace(place, rest)
    return [f"took ours out of {place}"]


def _below(prefix: Path, block: Block) -> Path:
    return prefix / block.path.lstrip("/")


def _read(place: Path) -> str | None:
    try:
        return place.read_text()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigInvalid(f"{place} cannot be read: {error}") from error


def _replace(place: Path, text: str) -> None:
    """Write whole or not at all; a file that was there keeps its mode."""
    def write() -> None:
        durable.private_folder(place.parent, 0o755)
        mode = stat.S_IMODE(place.stat().st_mode) if place.exists() else 0o644
        durable.replace(place, text.encode(), mode)

    _permitted(place, write)


def _permitted(place: Path, act: Callable[[], None]) -> None:
    try:
        act()
    except PermissionError:
        raise NotPrivileged(f"{place} cannot be written", remedy="as root, once more") from None
    except OSError as error:
        raise ConfigInvalid(f"{place} cannot be written: {error.strerror}") from error


def _launcher(given: str | None) -> str:
    place = os.path.abspath(given) if given else str(Path(sys.executable).with_name("vordr-runtime"))
    if not os.access(place, os.X_OK):
        raise ConfigInvalid(f"there is no vordr-runtime at {place}", remedy="--launcher PATH")
    return place


def _runtime(given: str | None) -> str:
    found = os.path.abspath(given) if given else next(
        (place for name in ("runc", "crun") if (place := shutil.which(name, path=_SEARCHED))), None)
    if found is None or not os.access(found, os.X_OK):
        raise ConfigInvalid(f"no OCI runtime was found{f' at {found}' if found else ''}",
                            remedy="--runtime PATH")
    return found


def _root(session: Session) -> str:
    from vordr.engine.opening import resolve_root

    return str(resolve_root(session.root))
