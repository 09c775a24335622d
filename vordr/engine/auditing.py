"""An audit's answer, for the engine and for an auditor who has nothing but a copy."""

from __future__ import annotations

from typing import Any

import msgspec

from vordr.formats.signature import PublicKey
from vordr.journal.auditor import OfflineJournal
from vordr.model import answers


def audited(
    journal: OfflineJournal, key: PublicKey, proof: dict[str, Any] | None, *, model: bool
) -> answers.AuditAnswer:
    """The answer about a journal's copy; with ``model`` also whether the proved model allows its history."""
    report = journal.audit(key)
    answer = answers.AuditAnswer(
        ok=report.ok, records=report.records, root=report.root, head=report.head or "",
        unanchored=report.unanchored, first_bad=report.first_bad, reason=report.reason,
        public_key=key.to_spki_base64(), proof=proof)
    if not model or not report.ok:
        return answer
    history = journal.history()
    if history.unlawful is not None:
        return msgspec.structs.replace(
            answer, ok=False, first_bad=history.unlawful.seq,
            reason=f"the model does not allow record {history.unlawful.seq}: {history.unlawful.reason}")
    told = f"{history.steps} steps of containers in {history.transactions} transactions, all allowed"
    return msgspec.structs.replace(answer, model=told)
