"""``vordr translog``: init, serve. A log's operator needs no engine, and no root folder of one."""

from __future__ import annotations

import signal
import sys
import threading
import time
from pathlib import Path

import click

from vordr.cli.command import HELP, Command
from vordr.cli.context import Session
from vordr.cli.output import print_json
from vordr.cli.passphrase import passphrase, passphrase_options

KEY_FILE = "key.pem"


@click.group("translog", context_settings=HELP)
def command() -> None:
    """Operate a transparency log, for yourself or for others."""


@command.command("init", cls=Command)
@click.option("--id", "log_id", metavar="NAME", help="The log's name in trust stores.  [default: DIR's]")
@click.option("--operator", required=True, metavar="NAME", help="Who you are, in trust stores and verdicts.")
@click.option("--url", default="http://127.0.0.1:8790", metavar="URL",
              help="Where it will be reached.  [default: http://127.0.0.1:8790]")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.pass_obj
def init(session: Session, log_id: str | None, operator: str, url: str, folder: Path) -> None:
    """Make an empty log with a key of its own; print its entry for the trust stores of others."""
    from vordr.formats.signature import PrivateKey, Suite
    from vordr.gatekeeper import durable
    from vordr.gatekeeper.translog import LocalLog

    key = PrivateKey.generate(Suite.ED25519)
    log = LocalLog.create(folder.absolute(), key, log_id)
    durable.write_new(folder / KEY_FILE, key.to_pem(None))
    print_json({log.id: {"operator": operator, "publicKey": key.public.to_spki_base64(), "url": url,
                         "algorithm": "ed25519"}})


@command.command("serve", cls=Command)
@click.option("--listen", metavar="HOST:PORT",
              help="Address; port 0 takes a free one.  [default: 127.0.0.1:8790]")
@click.option("--socket", "path", type=click.Path(path_type=Path), metavar="PATH",
              help="Serve on a unix socket instead, for its owner only.")
@click.option("--key", "key_file", type=click.Path(path_type=Path), metavar="FILE",
              help="The log's private key.  [default: DIR/key.pem; of a log of 'vordr trust init': "
              "keys/log.NAME.pem below the root folder]")
@passphrase_options
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.pass_obj
def serve(
    session: Session, listen: str | None, path: Path | None, key_file: Path | None, ask: bool,
    passphrase_file: Path | None, folder: Path,
) -> None:
    """Answer verified-container-spec's log API for the log in DIR, until SIGTERM or SIGINT.

    An entry is on the disk before it is acknowledged. There is no TLS and no login: put a proxy before it
    to serve others, and leave it on loopback.
    """
    from vordr.gatekeeper.keys import load_key
    from vordr.gatekeeper.log_operator import LogOperator
    from vordr.gatekeeper.log_server import LogServer, bound
    from vordr.gatekeeper.translog import LocalLog
    from vordr.model.errors import UsageError

    if listen is not None and path is not None:
        raise UsageError("give --listen or --socket, not both")
    folder = folder.absolute()
    key = load_key(key_file or _key_of(folder), passphrase(ask, passphrase_file))
    operator = LogOperator(LocalLog.open(folder, key), lambda: time.time_ns() // 1000)
    with bound(listen or "127.0.0.1:8790", path) as (listener, address):
        server = LogServer(listener, operator)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
        if session.json:
            print_json({"log": operator.log.id, "address": address, "publicKey": key.public.to_spki_base64()})
        else:
            print(f"Log {operator.log.id}, {operator.log.size} entries, on {address}")
        sys.stdout.flush()
        server.serve_forever(poll_interval=0.2)
        server.server_close()


def _key_of(folder: Path) -> Path:
    own = folder / KEY_FILE
    kept = folder.parents[2] / "keys" / f"log.{folder.name}.pem" if len(folder.parents) > 2 else own
    return kept if not own.exists() and kept.exists() else own
