"""Running skopeo, the one program that talks to registries, and reading what it says when it fails."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import tempfile
import threading
from collections.abc import Callable, Sequence
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

# skopeo's own policy.json would be a second, weaker gate that users must keep in step with ours, and a host
# without that file could pull nothing. What may run is decided by the gatekeeper, over the digests that
# arrived.
_POLICY: Final = "--insecure-policy"
_LONGEST_ANSWER: Final = 64 << 20
_LONGEST_ERROR: Final = 64 << 10
_HOUR: Final = 3600.0

# The first that matches decides; the exact ones stand before the broad ones.
_FAILURES: Final[tuple[tuple[str, type[VordrError], str], ...]] = (
    ("no space left on device|disk quota exceeded", LayerSpaceExhausted, "the disk is full"),
    ("gave HTTP response to HTTPS client", PullFailed, "the registry speaks plain HTTP: ask for it"),
    ("connection refused|no such host|timeout|unreachable|no route to host|server misbehaving|timed out",
     PullFailed, "the registry cannot be reached"),
    ("x509|certificate|tls:", PullFailed, "the registry's certificate is not trusted"),
    ("toomanyrequests|status 429", PullFailed, "the registry asks to come back later"),
    ("unauthorized|authentication required|no basic auth|resource is denied|status 40[13]|forbidden",
     RegistryDenied, "the registry denies access"),
    ("no image found in", ImageUnreadable, "the image is not built for this host"),
    ("manifest unknown|name unknown|name not known|name invalid|not found|status 404|no such file",
     ImageNotFound, "there is no such image"),
    ("unexpected EOF|did not match|invalid|unsupported|manifest.json|archive|more than one image",
     ImageUnreadable, "the image cannot be read"),
)


def run_skopeo(
    arguments: Sequence[str],
    what: str,
    *,
    on_line: Callable[[str], None] | None = None,
    timeout: float = _HOUR,
) -> bytes:
    """Run ``skopeo ARGUMENTS`` and return its standard output; ``on_line`` hears each line meanwhile.

    ``what`` is the image as a person named it. ``timeout`` is in seconds. Raises RuntimeNotFound without
    skopeo, and when it fails the fitting one of RegistryDenied, ImageNotFound, ImageUnreadable,
    LayerSpaceExhausted and PullFailed, with the command line and its last words in the details.
    """
    platform = ("--override-os", "linux", "--override-arch", host_architecture())
    command = ("skopeo", _POLICY, *platform, *arguments)
    with tempfile.TemporaryFile() as said:
        try:
            child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said,
                env={**os.environ, "LC_ALL": "C"},
            )
        except FileNotFoundError:
            raise RuntimeNotFound("skopeo is not installed", remedy="apt install skopeo") from None
        late = threading.Event()

        def give_up() -> None:
            late.set()
            child.kill()

        alarm = threading.Timer(timeout, give_up)
        alarm.daemon = True
        alarm.start()
        with child:
            try:
                answer = _listen(child, on_line)
                status = child.wait()
            except BaseException:
                child.kill()
                raise
            finally:
                alarm.cancel()
        if status == 0:
            return answer
        said.seek(max(0, os.fstat(said.fileno()).st_size - _LONGEST_ERROR))
        words = said.read().decode(errors="replace").strip()
    raise failure(command, what, f"timed out after {timeout:.0f} s" if late.is_set() else words)


def _listen(child: subprocess.Popen[bytes], on_line: Callable[[str], None] | None) -> bytes:
    assert child.stdout is not None
    lines, total = [], 0
    for line in child.stdout:
        lines.append(line)
        total += len(line)
        if total > _LONGEST_ANSWER:
            raise ImageUnreadable("skopeo answers more than 64 MiB")
        if on_line is not None:
            on_line(line.decode(errors="replace").rstrip())
    return b"".join(lines)


def failure(command: Sequence[str], what: str, words: str) -> VordrError:
    """The typed error for a failed skopeo call, by what it wrote on standard error."""
    last = words.splitlines()[-1] if words else "no words"
    if (message := re.search(r'msg="(.*)"$', last)) is not None:
        last = message[1].replace('\\"', '"')
    # An image may be called "unauthorized/forbidden": only skopeo's own words decide.
    own_words = last.replace(what, "").replace(what.partition("@")[0].rpartition(":")[0] or what, "")
    details = {"command": shlex.join(command), "said": last}
    for pattern, kind, meaning in _FAILURES:
        if re.search(pattern, own_words, re.IGNORECASE):
            return kind(f"{what}: {meaning}", details=details)
    return PullFailed(f"{what}: {last[:300]}", details=details)
