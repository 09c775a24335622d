"""What Svalinn's policies demand of an image, member by member.

Every member of a policy gets its line. What this engine cannot know (a key's hardware, a vulnerability count)
or does not hold (limits of containers) cannot be judged, and so refuses, until the operator names it in
``waive``: then the line says that it was waived. What fails cannot be waived.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from vordr.formats import reference
from vordr.formats.errors import FormatError
from vordr.formats.times import format_rfc3339, parse_rfc3339
from vordr.gatekeeper import demands
from vordr.gatekeeper.demands import DAY, Case, Line, Outcome
from vordr.gatekeeper.edge_policy import Form
from vordr.gatekeeper.scopes import SvalinnDemand, matches
from vordr.gatekeeper.statements import PREDICATES, PROVENANCE
from vordr.gatekeeper.steps import Origin

_ALGORITHMS: Final = {"CT-SIG-01": {"ed25519"}, "CT-SIG-02": {"ed25519", "ml-dsa-87"}, "CT-SIG-04": {"ed448"}}
_NEVER: Final = {"allowPrivileged": "privileged", "allowHostPid": "in the host's process namespace",
                 "allowHostIpc": "in the host's IPC namespace"}
_OF_CONTAINERS: Final = "it is about containers, of which a verdict on an image says nothing"
_WORDS: Final = {"$schema", "version", "name", "description", "notes", "mode"}


@dataclass(frozen=True)
class _Judge:
    """One policy and one image; methods give the line of one member."""

    case: Case
    scope: str
    prefix: str

    def line(self, demand: str, held: bool | None, text: str, keys: tuple[str, ...] = ()) -> Line:
        outcome = {True: Outcome.HOLDS, False: Outcome.FAILS, None: Outcome.UNJUDGED}[held]
        return Line(self.scope, self.name(demand), outcome, text, keys)

    def name(self, demand: str) -> str:
        return f"{self.prefix}.{demand}"

    def predicates(self, demand: str, wanted: Sequence[str]) -> Line:
        """The bundle holds exactly the two that the spec demands; no others are looked for elsewhere."""
        missing = [kind for kind in wanted if kind not in PREDICATES]
        if missing:
            return self.line(demand, None, f"no key is named that may attest {missing[0]}: a "
                             f"[[scope.cosign]] with attests = \"{missing[0]}\" can demand it")
        return self.line(demand, True, f"the bundle attests {', '.join(wanted)}")

    # -- registries and images ---------------------------------------------------------------------

    def registries(self, member: str, value: Any) -> Line:
        demand = f"registries.{member}"
        hosts = [_registry(name) for name in self.case.beside.names]
        match member:
            case "allow":
                others = [host for host in hosts if not any(_host_matches(p, host) for p in value)]
                held = bool(hosts) and not others
                return self.line(demand, held, f"{', '.join(others or hosts) or 'no registry'}: "
                                 f"{'allowed' if held else 'not among ' + ', '.join(value)}")
            case "deny":
                bad = [host for host in hosts if any(_host_matches(p, host) for p in value)]
                return self.line(demand, not bad, f"{', '.join(bad) or 'none'} denied")
            case "requireSignature":
                return self.line(demand, True, "the bundle is signed", self.case.found.key_ids)
        return self._renamed(demands.signers(self.scope, "", value, self.case), demand)

    def images(self, member: str, value: Any) -> Line:
        demand = f"images.{member}"
        names = self.case.beside.names
        match member:
            case "allowPatterns":
                others = [name for name in names if not any(matches(p, name) for p in value)]
                held = bool(names) and not others
                return self.line(demand, held, f"{(others or names or ('no name',))[0]}: "
                                 f"{'allowed' if held else 'matches none of ' + ', '.join(value)}")
            case "denyPatterns":
                bad = [name for name in names if any(matches(p, name) for p in value)]
                return self.line(demand, not bad, f"{bad[0]} is denied" if bad else "no name is denied")
            case "requireSbom":
                return self.line(demand, True, "the bundle attests an SPDX document")
            case "maxAgeDays":
                return self._image_age(demand, value)
        return self.line(demand, None, "nothing here counts vulnerabilities")

    def _image_age(self, demand: str, days: int) -> Line:
        """By when the publisher's provenance says that the build ended; the logs bound it from above."""
        found, case = self.case.found, self.case
        if found.origin is not Origin.PUBLISHED:
            return self.line(demand, None, "the age of an adopted image is attested by nobody")
        provenance = next(one for one in found.bundle.attestations if one.predicate_type == PROVENANCE)
        metadata = provenance.predicate["runDetails"].get("metadata")
        finished = metadata.get("finishedOn") if isinstance(metadata, dict) else None
        try:
            built = parse_rfc3339(finished) if isinstance(finished, str) else None
        except FormatError:
            built = None
        if built is None or built > case.oldest:
            return self.line(demand, None, "the provenance does not say when it was built")
        held = case.now_us < built + days * DAY
        line = self.line(demand, held, f"built {format_rfc3339(built)}, at most {days} days ago is allowed")
        return replace(line, until=built + days * DAY)

    # -- verification ------------------------------------------------------------------------------

    def verification(self, member: str, value: Any) -> Iterator[Line]:
        demand, case = f"verification.{member}", self.case
        match member:
            case "signatureAlgorithms":
                used = [key.public.suite.value for key in case.found.keys]
                bad = [suite for suite in used if not _ALGORITHMS[suite] <= set(value)]
                # A hybrid key is what the policy wants where it names the stronger of its two halves.
                bad = [suite for suite in bad if not ("ml-dsa-87" in value and suite == "CT-SIG-02")]
                yield self.line(demand, not bad, f"signed with {', '.join(sorted(set(used)))}; "
                                f"allowed are {', '.join(value)}")
            case "transparencyLogs":
                yield from self._logs(demand, value)
            case "sbomRequired":
                yield self.line(demand, True, "the bundle attests an SPDX document")
            case "sbomFormats":
                yield self.line(demand, "spdx" in value, "the bundle attests an SPDX document")
            case "provenanceLevel":
                yield self.line(demand, True if value <= 1 else None,
                                "the bundle attests SLSA provenance" if value <= 1 else
                                f"SLSA level {value}: the trust store says nothing of builders' levels")
            case "maxSignatureAgeDays":
                yield self._renamed(demands.age(self.scope, "", value, case), demand)
            case "keyTrustLevel":
                yield self.line(demand, True if value == "self-signed" else None,
                                "every key is of the trust store" if value == "self-signed" else
                                f"the trust store does not say which keys are {value}")
            case "allowedKeyIds":
                yield self._renamed(demands.signers(self.scope, "", value, case), demand)
            case "requiredPredicates":
                yield self.predicates(demand, value)

    def _logs(self, demand: str, value: Mapping[str, Any]) -> Iterator[Line]:
        proofs = self.case.found.proofs.values()
        if "required" in value:
            proving = [{part for _, log in one for part in (log.id, log.operator)} for one in proofs]
            missing = [log for log in value["required"] if not all(log in named for named in proving)]
            yield self.line(f"{demand}.required", not missing,
                            f"no proof of the log {missing[0]}" if missing else "all of them prove it")
        if "quorum" in value:
            fewest = min(len({log.id for _, log in one}) for one in proofs)
            yield self.line(f"{demand}.quorum", fewest >= value["quorum"],
                            f"{fewest} logs prove each attestation, {value['quorum']} must")

    # -- containers --------------------------------------------------------------------------------

    def security(self, member: str, value: Any) -> Line:
        demand = f"security.{member}"
        match member, value:
            case ("allowPrivileged" | "allowHostPid" | "allowHostIpc"), _:
                return self.line(demand, True, f"no container here is {_NEVER[member]}")
            case "allowHostNetwork", True:
                return self.line(demand, True, "demands nothing")
            case "allowHostNetwork", False:
                text = "allow_host_network in trust/policy.toml"
                return self.line(demand, not self.case.host_network,
                                 f"{text} is {'true' if self.case.host_network else 'false'}")
            case "readOnlyRoot", False:
                return self.line(demand, True, "demands nothing")
            case ("dropCapabilities" | "addCapabilities"), []:
                return self.line(demand, True, "demands nothing")
            case "seccompProfile", "RuntimeDefault":
                return self.line(demand, True, "every container runs under the engine's seccomp list")
        return self.line(demand, None, _OF_CONTAINERS)

    def network(self, member: str, value: Any) -> Line:
        idle = value is True or value == []
        return self.line(f"network.{member}", True if idle else None,
                         "demands nothing" if idle else _OF_CONTAINERS)

    def _renamed(self, line: Line, demand: str) -> Line:
        return replace(line, demand=self.name(demand))


def judge(policy: SvalinnDemand, case: Case, scope: str, prefix: str) -> Iterator[Line]:
    """A line for every member of the policy, the waived ones among them."""
    make = _gatekeeper if policy.read.form is Form.GATEKEEPER else _edge
    for line in make(_Judge(case, scope, prefix), policy.read.document):
        member = line.demand.removeprefix(f"{prefix}.")
        if line.outcome is Outcome.UNJUDGED and _is_waived(member, policy.waived):
            text = f"waived by the operator, not judged: {line.text}"
            line = replace(line, outcome=Outcome.HOLDS, text=text)
        yield line


def _is_waived(member: str, waived: Sequence[str]) -> bool:
    return any(member == one or member.startswith(f"{one}.") for one in waived)


def _gatekeeper(judge: _Judge, document: Mapping[str, Any]) -> Iterator[Line]:
    yield judge.predicates("requiredPredicates", document["requiredPredicates"])
    allowed = demands.signers(judge.scope, "", document["allowedSigners"], judge.case)
    yield replace(allowed, demand=judge.name("allowedSigners"))
    yield demands.operators(judge.scope, judge.name("logQuorum"), document["logQuorum"], judge.case)


def _edge(judge: _Judge, document: Mapping[str, Any]) -> Iterator[Line]:
    for section, members in document.items():
        if section in _WORDS:
            continue
        for member, value in members.items():
            match section:
                case "registries":
                    yield judge.registries(member, value)
                case "images":
                    yield judge.images(member, value)
                case "verification":
                    yield from judge.verification(member, value)
                case "security":
                    yield judge.security(member, value)
                case "network":
                    yield judge.network(member, value)
                case _:
                    yield judge.line(f"{section}.{member}", None, _OF_CONTAINERS)


def _registry(name: str) -> str:
    try:
        return reference.parse(name).registry
    except FormatError:
        return name


def _host_matches(pattern: str, host: str) -> bool:
    """``*.example.org`` is every host below it; all else is the host itself."""
    if pattern.startswith("*."):
        return host.endswith(pattern[1:]) and len(host) > len(pattern) - 1
    return host == pattern
