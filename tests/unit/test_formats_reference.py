from __future__ import annotations

import pytest

from vordr.formats import FormatError, reference
from vordr.formats.reference import Reference

HEX = "86e0e091d0da6bde2456dbb48306f3956bbeb2eae1b5b9a43045843f69fe4aaa"
D = f"sha256:{HEX}"


@pytest.mark.parametrize(
    ("text", "registry", "repository", "tag", "digest", "familiar"),
    [
        ("nginx", "docker.io", "library/nginx", None, None, "nginx"),
        ("nginx:1.27", "docker.io", "library/nginx", "1.27", None, "nginx:1.27"),
        ("lowercase:Uppercase", "docker.io", "library/lowercase", "Uppercase", None, "lowercase:Uppercase"),
        ("fooo/bar", "docker.io", "fooo/bar", None, None, "fooo/bar"),
        ("docker.io/foo", "docker.io", "library/foo", None, None, "foo"),
        ("index.docker.io/library/debian", "docker.io", "library/debian", None, None, "debian"),
        ("library/foo/bar", "docker.io", "library/foo/bar", None, None, "library/foo/bar"),
        ("test_com/foo", "docker.io", "test_com/foo", None, None, "test_com/foo"),
        ("test.com:tag", "docker.io", "library/test.com", "tag", None, "test.com:tag"),
        ("192.168.0.1:80", "docker.io", "library/192.168.0.1", "80", None, "192.168.0.1:80"),
        ("test.com/repo:tag", "test.com", "repo", "tag", None, "test.com/repo:tag"),
        ("test:5000/repo", "test:5000", "repo", None, None, "test:5000/repo"),
        ("localhost/x", "localhost", "x", None, None, "localhost/x"),
        ("localhost:5000/a/b:t", "localhost:5000", "a/b", "t", None, "localhost:5000/a/b:t"),
        ("127.0.0.1:5000/docker/docker", "127.0.0.1:5000", "docker/docker", None, None, None),
        ("[fc00::1]:5000/docker:t", "[fc00::1]:5000", "docker", "t", None, None),
        ("[2001:db8::1]/repo", "[2001:db8::1]", "repo", None, None, None),
        ("xn--n3h.com/myimage:xn--n3h.com", "xn--n3h.com", "myimage", "xn--n3h.com", None, None),
        ("Docker/docker", "Docker", "docker", None, None, None),
        ("dock__er/doc---ker.x_y", "docker.io", "dock__er/doc---ker.x_y", None, None, None),
        (f"busybox@{D}", "docker.io", "library/busybox", None, D, None),
        (f"busybox:latest@{D}", "docker.io", "library/busybox", "latest", D, None),
        (f"test:5000/repo:tag@{D}", "test:5000", "repo", "tag", D, None),
        (HEX[:-1], "docker.io", f"library/{HEX[:-1]}", None, None, None),
    ],
)
def test_references_are_read_as_docker_reads_them(
    text: str, registry: str, repository: str, tag: str | None, digest: str | None, familiar: str | None
) -> None:
    parsed = reference.parse(text)
    assert parsed == Reference(registry, repository, tag, digest)
    assert parsed.familiar() == (text if familiar is None else familiar)
    assert reference.parse(parsed.familiar()) == parsed
    assert reference.parse(str(parsed)) == parsed


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":justtag",
        f"@{D}",
        "repo@sha256:ffffffffffffffffffffffffffffffffff",
        f"repo@sha512:{HEX}{HEX}",
        f"repo@sha256:{HEX.upper()}",
        f"repo@{D}@{D}",
        "repo@",
        "repo:",
        "repo:a:b",
        "repo:-foo",
        "repo:" + "a" * 129,
        "Uppercase:tag",
        "test:5000/Uppercase/lowercase:tag",
        "docker/Docker",
        "docker.io/docker/Docker",
        "a/" * 128 + "a:tag",
        "a" * 254 + "." + "b" * 10 + "/x",
        "aa/asdf$$^/aa",
        "[2001:db8::1]",
        "[2001:db8::1]:5000",
        "[fe80::1%eth0]:5000/repo",
        "[2001:db8:3:4::192.0.2.33]:5000/debian",
        "fc00::1:5000/debian",
        "https://github.com/docker/docker",
        "-docker",
        "-docker.io/docker/docker",
        "docker-/docker",
        "docker///docker",
        "docker/",
        "/docker",
        "docker.io/",
        "_docker/_docker",
        "dock..er/docker",
        "dock_.er/docker",
        "dock-.er/docker",
        "host:0/repo",
        "host:65536/repo",
        "host:/repo",
        HEX,
        D,
        "nginx\n",
        " nginx",
        "nginx:latest\n",
        "ngınx",
        "nginx/٣",
        "../../etc/passwd",
        "a/../b",
        "docker://nginx",
        "oci:/path",
    ],
)
def test_what_docker_refuses_is_refused(text: str) -> None:
    with pytest.raises(FormatError):
        reference.parse(text)


def test_a_repository_may_have_255_characters() -> None:
    assert len(reference.parse("a/" * 127 + "a:tag").repository) == 255


def test_latest_is_added_only_where_neither_tag_nor_digest_is() -> None:
    assert str(reference.parse("nginx").with_default_tag()) == "docker.io/library/nginx:latest"
    assert str(reference.parse("nginx:1").with_default_tag()) == "docker.io/library/nginx:1"
    assert reference.parse(f"nginx@{D}").with_default_tag().tag is None


@pytest.mark.parametrize(
    "full",
    ["docker.io/test.com/foo", f"docker.io/library/{HEX}", f"docker.io/library/sha256:{HEX}",
     "docker.io/index.docker.io/foo", "docker.io/localhost/x"],
)
def test_the_familiar_form_stays_long_where_the_short_one_would_mean_another_image(full: str) -> None:
    parsed = reference.parse(full)
    assert parsed.familiar() == full
    assert str(parsed) == full


@pytest.mark.parametrize(
    ("registry", "repository"),
    [("docker.io", "nginx"), ("index.docker.io", "library/x"), ("quay", "x/y"), ("", "x"), ("a b.c", "x")],
)
def test_a_reference_that_would_be_read_as_another_cannot_be_made(registry: str, repository: str) -> None:
    with pytest.raises(FormatError):
        Reference(registry, repository)


def test_a_registry_may_be_as_long_as_a_dns_name_with_a_port() -> None:
    longest = ".".join(["a" * 49] * 5) + ".abc:65535"
    assert len(longest) == reference.MAX_REGISTRY
    assert reference.parse(f"{longest}/c").registry == longest
    with pytest.raises(FormatError):
        reference.parse(f"a{longest}/c")


def test_only_the_first_part_of_a_repository_could_be_read_as_a_registry() -> None:
    assert reference.parse("docker.io/me/a.b/c").familiar() == "me/a.b/c"
    assert reference.parse("docker.io/a.b/me/c").familiar() == "docker.io/a.b/me/c"
