"""Running skopeo, the one program that talks to registries, and reading what it says when it fails."""

from __future__ import annotations

import os
import platform
import re
import shlex
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from vordr.images.layout import host_architecture
from vordr.model.errors import (
    ImageNotFound,
    ImageUnreadable,
    LayerSpaceExhausted,
    PullFailed,
    RegistryDenied,
    RuntimeNotFound,
    VordrError,
)

# skopeo's own policy.json would be a second, weaker gate that users have to keep in step with ours: what may run is
# decided by the gatekeeper, over the digests that arrived. Transport accepts everything.
_POLICY_FLAG: Final = "--insecure-policy"
_LONGEST_ANSWER: Final = 64 << 20
_HOUR: Final = 3600.0

_FAILURES: Final[tuple[tuple[str, type[VordrError], str], ...]] = (
    (r"no space left on device|disk quota exceeded", LayerSpaceExhausted, "the disk is full"),
    (r"unauthorized|authentication required|access to the resource is denied|\b401\b|\b403\b|denied:",
     RegistryDenied, "the registry denies access"),
    (r"manifest unknown|name unknown|repository name not known|not found|\b404\b|does not exist|no such file",
     ImageNotFound, "there is no such image"),
    (r"no image found in manifest list|no image found in image index", ImageUnreadable,
     "the image is not built for this host"),
    (r"server gave HTTP response to HTTPS client", PullFailed,
     "the registry speaks plain HTTP, which must be asked for (--insecure)"),
    (r"connection refused|no such host|i/o timeout|network is unreachable|no route to host|server misbehaving",
     PullFailed, "the registry cannot be reached"),
    (r"x509|certificate|tls:", PullFailed, "the registry's certificate is not trusted"),
    (r"toomanyrequests|\b429\b", PullFailed, "the registry asks to come back later"),
    (r"unexpected EOF|digest did not match|Digest did not match|invalid character|"
     r"invalid tar header|not a valid|unsupported|manifest\.json", ImageUnreadable, "the image cannot be read"),
)


def run_skopeo(
    arguments: Sequence[str], what: str, *, on_line: Callable[[str], None] | None = None, timeout: float = _HOUR
) -> bytes:
    """Run ``skopeo ARGUMENTS`` and return its standard output; ``on_line`` hears each line of it meanwhile.

    ``what`` is the image as a person named it, for messages. Raises RuntimeNotFound without skopeo, and the most
    fitting of RegistryDenied, ImageNotFound, ImageUnreadable, LayerSpaceExhausted and PullFailed when it fails,
    with the command line and its last words in the details.
    """
    command = (
        "skopeo", _POLICY_FLAG, "--override-os", "linux", "--override-arch", host_architecture(), *_variant(),
        *arguments,
    )
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
        )
    except FileNotFoundError:
        raise RuntimeNotFound("skopeo is not installed", remedy="apt install skopeo") from None
    with child:
        assert child.stdout is not None and child.stderr is not None
        errors: list[bytes] = []
        listener = threading.Thread(target=lambda: errors.append(_bounded(child.stderr)), daemon=True)
        listener.start()
        alarm = threading.Timer(timeout, child.kill)
        alarm.daemon = True
        alarm.start()
        try:
            answer = _listen(child.stdout, on_line)
            status = child.wait()
        except BaseException:
            child.kill()
            raise
        finally:
            expired = not alarm.is_alive()
            alarm.cancel()
        listener.join()
    if status != 0:
        said = b"".join(errors).decode(errors="replace")
        raise _failure(command, what, "timed out" if expired else said)
    return answer
