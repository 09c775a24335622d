"""How images come in: packages handed to us, and pulls from registries. Each is a transaction."""

from __future__ import annotations

import contextlib

from vordr.actors.transaction import Finished, Plan
from vordr.engine import beside, gathering
from vordr.engine.finding import full_name
from vordr.engine.host import Call, Host
from vordr.engine.library import Incoming
from vordr.formats import reference
from vordr.images import transport
from vordr.images.referrers import RegistryPlace


def bring_in(host: Host, call: Call, incoming: Incoming, summary: str) -> Finished | None:
    """Perform the steps of an incoming image, if there are any."""
    def plan() -> Plan:
        planned = incoming.steps()
        if not planned.steps:
            raise _AsItIs
        verdicts = {} if incoming.judge is None else {incoming.image.manifest: incoming.judge()}
        return Plan("import", summary, planned.steps, call.caller.principal, payload=planned.work,
                    verdicts=verdicts, conditions=planned.read)

    with contextlib.suppress(_AsItIs), host.library.naming(incoming.image.names):
        return host.transactions.run(plan)
    return None


class _AsItIs(Exception):
    """The store has the image as it comes."""


def pull_image(host: Host, call: Call, given: str, *, insecure: bool = False) -> tuple[str, Finished]:
    """Fetch an image into the store, with the bundle and the evidence that refer to it in the registry; its
    manifest digest, and the transaction. Without a bundle that verifies, nobody vouches for it yet.

    Raises UsageError, ImageNotFound, RegistryDenied, PullFailed, ImageUnreadable.
    """
    with host.library.coming.shared():
        return _pulled(host, call, given, insecure)


def _pulled(host: Host, call: Call, given: str, insecure: bool) -> tuple[str, Finished]:
    wanted = reference.parse(full_name(given))
    manifest = transport.pull(wanted, host.store, insecure=insecure, progress=call.progress)
    contents = host.library.read_contents(manifest)
    image = host.library.describe(contents, (str(wanted),), None, None)
    gathered = beside.gather(RegistryPlace(wanted, insecure=insecure), manifest)
    gathering.tell(call, gathered)

    def plan() -> Plan:
        joined = gathering.join(host, call, image, host.library.known(manifest), gathered)
        planned = joined.planned
        return Plan("pull", f"pull {wanted.familiar()}", planned.steps, call.caller.principal,
                    payload=planned.work, verdicts=joined.verdicts, conditions=planned.read)

    with host.library.naming(image.names):
        return manifest, host.transactions.run(plan)
