"""The few requests to a registry that skopeo does not make: referrers, and small manifests and blobs of them.

OCI distribution-spec v1.1, pull side only. TLS with verification, unless the caller allows otherwise or the
registry is on loopback; an answer never leads from TLS to plain HTTP. Credentials come from
containers-auth.json(5) and go to the registry, or to the token service that it names, and nowhere else:
redirects do not take them along. Every answer is bounded in bytes, and all of them together in time.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import os
import re
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any, Final

from vordr.formats import canonical
from vordr.formats.digests import sha256_digest
from vordr.formats.errors import FormatError
from vordr.formats.reference import DEFAULT_REGISTRY, Reference
from vordr.images.layout import DOCKER_LIST, DOCKER_MANIFEST, MAX_DOCUMENT, OCI_INDEX, OCI_MANIFEST
from vordr.images.transport import is_loopback
from vordr.model.errors import ImageUnreadable, PullFailed, RegistryDenied

ALL_TIME: Final = 60.0
"""Seconds for everything that one client is asked."""
_ONE_WAIT: Final = 15.0
_CHUNK: Final = 1 << 16
_LARGEST_TOKEN: Final = 1 << 16
_OF_THE_USER: Final = Path("/run/containers")
_DOCKER_IO: Final = "registry-1.docker.io"
_DOCKER_IO_KEYS: Final = ("docker.io", "index.docker.io", "https://index.docker.io/v1/")
_ACCEPT: Final = ", ".join((OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST))
_CHALLENGE: Final = re.compile(r'([a-z]+)="([^"]*)"')
_ERRORS: Final = (urllib.error.URLError, HTTPException, OSError, ValueError)


@dataclass(frozen=True)
class Answer:
    """Status and body of a request; ``link`` is the address of the next page, where there is one."""

    status: int
    body: bytes
    link: str | None
    challenge: str


class RegistryClient:
    """Asks the registry of one repository. Not thread-safe."""

    def __init__(
        self, reference: Reference, *, insecure: bool = False, auth_file: Path | None = None
    ) -> None:
        loopback = is_loopback(reference.registry)
        self.repository = reference.repository
        self.name = reference.name
        self._host = _DOCKER_IO if reference.registry == DEFAULT_REGISTRY else reference.registry
        self._lax = insecure or loopback
        self._deadline = time.monotonic() + ALL_TIME
        self._credentials = credentials(reference, auth_file)
        self._authorization: str | None = None
        self._opener = _opener(self._lax, direct=loopback)
        self._scheme = "https"

    def manifest(self, wanted: str) -> bytes | None:
        """The manifest of a digest or tag; None when there is none. One of a digest is hashed.

        Raises RegistryDenied, PullFailed, ImageUnreadable.
        """
        answer = self._get(f"/v2/{self.repository}/manifests/{wanted}", MAX_DOCUMENT, accept=_ACCEPT)
        if answer.status == 404:
            return None
        if wanted.startswith("sha256:"):
            self._check(answer.body, wanted)
        return answer.body

    def blob(self, digest: str, limit: int) -> bytes:
        """The bytes of a blob of at most ``limit`` bytes, hashed. Raises as :meth:`manifest`."""
        answer = self._get(f"/v2/{self.repository}/blobs/{digest}", limit)
        if answer.status == 404:
            raise PullFailed(f"{self.name}: the blob {digest} is not there")
        self._check(answer.body, digest)
        return answer.body

    def referrers(self, digest: str, most_pages: int) -> Iterator[bytes] | None:
        """Pages of the referrers API (image indexes); None where the registry does not have it."""
        first = self._get(f"/v2/{self.repository}/referrers/{digest}", MAX_DOCUMENT, accept=OCI_INDEX)
        # A registry without the API says 404, some of them 400 or 405 (distribution-spec, "Unavailable").
        return None if first.status in (400, 404, 405) else self._pages(first, most_pages)

    def _pages(self, page: Answer, left: int) -> Iterator[bytes]:
        while True:
            yield page.body
            left -= 1
            if page.link is None or left <= 0:
                return
            path = urllib.parse.urljoin(f"/v2/{self.repository}/referrers/", page.link)
            if not path.startswith(f"/v2/{self.repository}/referrers/"):
                raise ImageUnreadable(f"{self.name}: the registry's next page is elsewhere: {path[:200]!r}")
            page = self._get(path, MAX_DOCUMENT, accept=OCI_INDEX)

    def _check(self, body: bytes, digest: str) -> None:
        if sha256_digest(body) != digest:
            raise ImageUnreadable(f"{self.name}: the registry gave other bytes for {digest}")

    # -- requests ----------------------------------------------------------------------------------

    def _get(self, path: str, limit: int, accept: str = "*/*") -> Answer:
        answer = self._ask(path, limit, accept)
        if answer.status == 401 and self._authorization is None:
            self._authorization = self._authorize(answer.challenge)
            answer = self._ask(path, limit, accept)
        if answer.status in (401, 403):
            raise RegistryDenied(f"{self.name}: the registry denies access ({answer.status})")
        if answer.status >= 300 and answer.status not in (400, 404, 405):
            raise PullFailed(f"{self.name}: the registry answers {answer.status} to {path[:200]}")
        return answer

    def _ask(self, path: str, limit: int, accept: str) -> Answer:
        try:
            return self._fetch(f"{self._scheme}://{self._host}{path}", limit, accept, self._authorization)
        except PullFailed:
            if not self._lax or self._scheme == "http":
                raise
        self._scheme = "http"  # as skopeo does with --tls-verify=false
        return self._fetch(f"http://{self._host}{path}", limit, accept, self._authorization)

    def _fetch(self, url: str, limit: int, accept: str, authorization: str | None) -> Answer:
        request = urllib.request.Request(url, headers={"Accept": accept, "User-Agent": "vordr"})
        if authorization is not None:
            request.add_unredirected_header("Authorization", authorization)
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise PullFailed(f"{self.name}: the registry took longer than {ALL_TIME:.0f} s in all")
        try:
            with self._opener.open(request, timeout=min(left, _ONE_WAIT)) as response:
                return Answer(response.status, self._body(response, limit), _next(response.headers), "")
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, b"", None, error.headers.get("WWW-Authenticate") or "")
        except _ERRORS as error:
            raise PullFailed(f"{self.name}: {_said(error)}") from None

    def _body(self, response: IO[bytes], limit: int) -> bytes:
        pieces, total = [], 0
        while piece := response.read(_CHUNK):
            total += len(piece)
            if total > limit:
                raise ImageUnreadable(f"{self.name}: the registry answers more than {limit} bytes")
            if time.monotonic() > self._deadline:
                raise PullFailed(f"{self.name}: the registry took longer than {ALL_TIME:.0f} s in all")
            pieces.append(piece)
        return b"".join(pieces)

    def _authorize(self, challenge: str) -> str | None:
        kind, _, rest = challenge.partition(" ")
        basic = None if self._credentials is None else "Basic " + base64.b64encode(
            self._credentials.encode()).decode()
        if kind.lower() == "basic":
            return basic
        if kind.lower() != "bearer":
            return None
        told = dict(_CHALLENGE.findall(rest))
        realm = told.get("realm", "")
        if not realm.startswith("https://") and not (self._scheme == "http" and realm.startswith("http://")):
            raise RegistryDenied(f"{self.name}: the token service {realm[:200]!r} is not reached by TLS")
        asked = {"service": told.get("service", ""), "scope": f"repository:{self.repository}:pull"}
        url = realm + ("&" if "?" in realm else "?") + urllib.parse.urlencode(asked)
        answer = self._fetch(url, _LARGEST_TOKEN, "application/json", basic)
        try:
            document: Any = canonical.loads(answer.body, where="token")
        except FormatError:
            document = None
        told = document if isinstance(document, dict) else {}
        token = told.get("token") or told.get("access_token")
        if not isinstance(token, str) or not re.fullmatch(r"[!-~]{1,16384}", token):
            raise RegistryDenied(f"{self.name}: the token service gives no token ({answer.status})")
        return f"Bearer {token}"


class _NoWeaker(urllib.request.HTTPRedirectHandler):
    """Redirects go from TLS to TLS only; what began in plain HTTP may go anywhere over HTTP."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> urllib.request.Request | None:
        if req.type == "https" and not newurl.lower().startswith("https://"):
            raise urllib.error.URLError(f"redirected from TLS to {newurl[:100]!r}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]
        # typeshed wants its own HTTPMessage, a Message with nothing more


def _opener(lax: bool, *, direct: bool) -> urllib.request.OpenerDirector:
    if lax:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # without authorities, which take 50 ms to read
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context = ssl.create_default_context()
    handlers: list[urllib.request.BaseHandler] = [_NoWeaker(), urllib.request.HTTPSHandler(context=context)]
    if direct:
        handlers.append(urllib.request.ProxyHandler({}))
    return urllib.request.build_opener(*handlers)


def _next(headers: Message) -> str | None:
    """The address of ``Link: <…>; rel="next"``."""
    match = re.match(r'\s*<([^>]{1,2000})>\s*;\s*rel="?next"?', headers.get("Link") or "")
    return None if match is None else match[1]


def _said(error: Exception) -> str:
    reason = getattr(error, "reason", None)
    return str(reason if reason is not None else error)[:300] or type(error).__name__


# -- containers-auth.json(5) -----------------------------------------------------------------------


def credentials(reference: Reference, auth_file: Path | None = None) -> str | None:
    """``user:password`` for the repository, by its most specific entry; None: none are kept in a file.

    Credential helpers are not asked: what they keep, skopeo can use, and this client goes without.
    """
    for path in [auth_file] if auth_file is not None else _auth_files():
        auths = _auths(path)
        for key in _keys(reference):
            match auths.get(key):
                case {"auth": str(encoded)} if encoded:
                    with contextlib.suppress(binascii.Error, UnicodeDecodeError):
                        return base64.b64decode(encoded, validate=True).decode().rstrip("\0")
    return None


def _keys(reference: Reference) -> Iterator[str]:
    parts = reference.name.split("/")
    for length in range(len(parts), 0, -1):
        yield "/".join(parts[:length])
    if reference.registry == DEFAULT_REGISTRY:
        yield from _DOCKER_IO_KEYS
    else:
        yield f"https://{reference.registry}"


def _auth_files() -> Iterator[Path]:
    if named := os.environ.get("REGISTRY_AUTH_FILE"):
        yield Path(named)
        return
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    yield (Path(runtime) / "containers" if runtime else _OF_THE_USER / str(os.getuid())) / "auth.json"
    home = Path(os.environ.get("HOME") or "/root")
    yield Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config", "containers/auth.json")
    yield home / ".docker/config.json"


def _auths(path: Path | None) -> Mapping[str, Any]:
    try:
        document = json.loads(Path(path or "").read_bytes())
    except (OSError, ValueError):
        return {}
    auths = document.get("auths") if isinstance(document, dict) else None
    return auths if isinstance(auths, dict) else {}
