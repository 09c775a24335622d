(** * The oracle's code: the definitions that the theorems are about, as OCaml

    [make -C proofs oracle] compiles it with [oracle/main.ml]; the property tests ask it. *)

From Coq Require Extraction ExtrOcamlBasic ExtrOcamlNatInt.
From Vordr Require Lifecycle Undo Verdict Journal Chain Threshold Supervisor.

Extraction Language OCaml.

Separate Extraction
  Lifecycle.all_ops Lifecycle.all_states
  Undo.perform Undo.undo Undo.fresh
  Verdict.gstep Verdict.shut
  Journal.tick Journal.begun
  Chain.build
  Threshold.decide
  Supervisor.on_exit Supervisor.rested.
