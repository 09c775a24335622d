"""skopeo's own words become typed errors."""

from __future__ import annotations

import pytest

from vordr.images.skopeo import failure
from vordr.model.errors import (
    ImageNotFound,
    ImageUnreadable,
    LayerSpaceExhausted,
    PullFailed,
    RegistryDenied,
    VordrError,
)

# Taken from skopeo 1.9 and 1.14, each without the time stamp before it.
SAID: list[tuple[str, type[VordrError]]] = [
    ("reading manifest absent in localhost:5000/app: manifest unknown: manifest unknown", ImageNotFound),
    (
        "reading manifest latest in localhost:5000/none: name unknown: repository name not known to registry",
        ImageNotFound,
    ),
    (
        "reading manifest v1 in docker.io/library/no: errors: denied: access to the resource is denied "
        "unauthorized: authentication required\\n",
        RegistryDenied,
    ),
    ("reading manifest v1 in ghcr.io/a/b: unauthorized: authentication required", RegistryDenied),
    (
        'pinging container registry localhost:1: Get \\"http://localhost:1/v2/\\": dial tcp: connect: '
        "connection refused",
        PullFailed,
    ),
    ("pinging container registry no.example: dial tcp: lookup no.example: no such host", PullFailed),
    ("pinging container registry r: http: server gave HTTP response to HTTPS client", PullFailed),
    ("pinging container registry r: x509: certificate signed by unknown authority", PullFailed),
    (
        "reading manifest latest in docker.io/library/x: toomanyrequests: You have reached your rate limit",
        PullFailed,
    ),
    (
        'writing blob: storing blob to file \\"/s/x\\": write /s/x: no space left on device',
        LayerSpaceExhausted,
    ),
    ("choosing image instance: no image found in manifest list for architecture amd64", ImageUnreadable),
    ("copying system image: Digest did not match, expected sha256:aa, got sha256:bb", ImageUnreadable),
    ("something nobody has seen before", PullFailed),
]


@pytest.mark.parametrize(("said", "kind"), SAID, ids=[said[:40] for said, _ in SAID])
def test_a_failure_is_of_its_kind_and_keeps_the_command(said: str, kind: type[VordrError]) -> None:
    error = failure(("skopeo", "copy", "a b"), "app:1", f'time="2026" level=fatal msg="{said}"')
    assert type(error) is kind
    assert error.message.startswith("app:1: ")
    assert error.details["command"] == "skopeo copy 'a b'"


def test_the_name_of_an_image_does_not_decide_the_kind() -> None:
    said = 'msg="reading manifest 1 in r.example/unauthorized/app: manifest unknown"'
    assert type(failure(("skopeo",), "r.example/unauthorized/app:1", said)) is ImageNotFound
