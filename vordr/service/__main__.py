"""``python -m vordr.service``: what the keeper runs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NoReturn

from vordr.service.server import serve_and_exit


def main(arguments: list[str] | None = None) -> NoReturn:
    parser = argparse.ArgumentParser(prog="python -m vordr.service")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--ready-fd", type=int)
    parser.add_argument("--log-file", type=Path)
    options = parser.parse_args(arguments)
    serve_and_exit(options.root, log_file=options.log_file, ready_fd=options.ready_fd)


if __name__ == "__main__":
    main()
