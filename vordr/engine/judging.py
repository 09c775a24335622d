"""The one judgement on which a process may be made in a container, asked by every start and by who audits."""

from __future__ import annotations

from vordr.engine.host import Host
from vordr.model.errors import PolicyDenied
from vordr.model.spec import NetworkMode
from vordr.model.state import ContainerState
from vordr.model.verdict import Verdict


def check_network(host: Host, network: NetworkMode) -> None:
    """Raise PolicyDenied where the operator's policy, as it is now, does not allow this network."""
    if network is NetworkMode.HOST and not host.gatekeeper.trusted().policy.allow_host_network:
        raise PolicyDenied(
            "the operator's policy does not allow the host's network",
            remedy=f"set allow_host_network = true in {host.paths.trust / 'policy.toml'}",
            details={"network": str(network)})


def start_verdict(host: Host, container: ContainerState) -> Verdict:
    """The verdict by which a process of ``container`` may be made now.

    :raises VerificationRejected, PolicyDenied: none may. TrustStoreInvalid, ConfigInvalid, ConfigUnparsable:
        nobody can be trusted now. ImageNotFound: the image left the store.
    """
    check_network(host, container.spec.network)
    return host.library.judge_manifest(container.image)
