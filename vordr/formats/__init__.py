"""Pure encodings and proofs: bytes and values in, bytes and values out. No IO, clock, thread or logging.

| module | format |
|---|---|
| canonical | JSON Canonicalization Scheme (RFC 8785) and a strict JSON reader |
| toml | TOML 1.0, with bounded nesting and integers of 64 bits |
| digests | ``sha256:<hex>`` |
| merkle | RFC 9162 Merkle trees and their proofs |
| note, checkpoint | C2SP signed notes and transparency log checkpoints |
| dsse | Dead Simple Signing Envelope v1 |
| signature | suites CT-SIG-01, -02, -04: keys, signatures, their encodings |
| reference | image references as docker reads them |
| uuid7, times | UUID version 7 (RFC 9562), RFC 3339 timestamps |
| frames | length-prefixed JSON messages of our socket |

Everything here refuses with :class:`FormatError`.
"""

from vordr.formats.errors import FormatError

__all__ = ["FormatError"]
