"""The journal: a LevelDB of hash-chained records, their Merkle tree, and the projection they add up to.

| module | what |
|---|---|
| layout | database keys and the bytes of records |
| batch | pure: groups of drafts → records, projection writes, refusals |
| tiles | the RFC 9162 tree over the records, kept in tiles |
| head | the signed head outside the database |
| space | refusing early on a full disk, and the reserve |
| store | the one writer, and thread-safe reads |
| copy | a consistent copy of a database that may be in use |
| auditor, replay | verification of a copy with the public key alone |
| proofs | inclusion and consistency proofs, made and verified |
| secrets | the deletable values that records mention by keyed digest |
| flood | token buckets: floods become counted summaries |
"""
