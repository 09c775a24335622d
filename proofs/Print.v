(** * The table as data

    Prints what [Lifecycle.v] says as JSON: the rows, every legal cell of operation × state × wanted target, and
    the inverse of every such step. [make proofs] writes it to [generated/lifecycle.json];
    [tests/unit/test_proofs_table.py] holds the Python to it, cell by cell. *)

From Coq Require Import List String Bool Arith.
From Vordr Require Import Lifecycle.
Import ListNotations.
Local Open Scope string_scope.

Definition state_name (s : state) : string :=
  match s with
  | image_only => "image_only" | created => "created" | running => "running"
  | paused => "paused" | stopped => "stopped" | removed => "removed"
  end.

Definition op_name (o : op) : string :=
  match o with
  | create => "create" | start => "start" | pause => "pause" | resume => "resume" | stop => "stop"
  | kill => "kill" | exit => "exit" | remove => "remove" | uncreate => "uncreate" | recreate => "recreate"
  | unstart => "unstart" | reopen => "reopen" | revive => "revive" | restore => "restore"
  end.

Definition fidelity_name (f : fidelity) : string := match f with exact => "exact" | declared => "state" end.

Definition newline : string := String (Ascii.ascii_of_nat 10) "".
Definition quote : string := String (Ascii.ascii_of_nat 34) "".

Definition text (s : string) : string := quote ++ s ++ quote.
Definition boolean (b : bool) : string := if b then "true" else "false".
Definition names {A} (name : A -> string) (l : list A) : string :=
  "[" ++ concat ", " (map (fun x => text (name x)) l) ++ "]".
Definition field (name value : string) : string := text name ++ ": " ++ value.
Definition rows (l : list string) : string := "[" ++ newline ++ concat ("," ++ newline) l ++ newline ++ "]".

Definition row_json (o : op) : string :=
  let r := table o in
  "{" ++ concat ", " [
    field "op" (text (op_name o));
    field "sources" (names state_name (sources r));
    field "targets" (names state_name (targets r));
    field "inverse" (text (op_name (inverse r)));
    field "fidelity" (text (fidelity_name (truth r)));
    field "loses_memory" (boolean (loses_memory r));
    field "creates_process" (boolean (creates_process r));
    field "direct" (boolean (direct r))] ++ "}".

(** Everything that may be asked of a container in a state: the target that is wanted, or none. *)
Definition wanted_targets : list (option state) := None :: map Some all_states.

Definition wanted_json (w : option state) : string :=
  match w with None => "null" | Some s => text (state_name s) end.

(** A container in [s] to try a step on: name 1, generations 2 over 1. *)
Definition sample (s : state) : option container :=
  match s with image_only => None | _ => Some (Container 7 0 1 [10] [80] s [2; 1]) end.

(** The arguments of a step towards [w]: a container to make, the newest generation or one more. *)
Definition sample_args (o : op) (w : option state) : args :=
  Args (Some (Container 7 0 1 [10] [80] stopped [2; 1])) w
       (Some match o with unstart => 2 | _ => 3 end) None.

Definition generations_json (l : list nat) : string :=
  "[" ++ concat ", " (map (fun n => match n with 1 => "1" | 2 => "2" | _ => "3" end) l) ++ "]".

(** One cell: what [advance] makes of the sample, null where it refuses. *)
Definition cell_json (o : op) (s : state) (w : option state) : list string :=
  match target o s w, advance o (sample s) (sample_args o w) with
  | None, None => []
  | t, a =>
      ["{" ++ concat ", " [
        field "op" (text (op_name o));
        field "state" (text (state_name s));
        field "to" (wanted_json w);
        field "leads" (wanted_json t);
        field "process" (boolean (makes_process o w));
        match a with
        | None => field "advance" "null"
        | Some (after, (u, ua)) =>
            field "advance" ("{" ++ concat ", " [
              field "state" (text (state_name (state_of after)));
              field "generations" (match after with
                | None => "null" | Some c => generations_json (rev (c_generations c)) end);
              field "inverse" (text (op_name u));
              field "inverse_to" (wanted_json (a_to ua))] ++ "}")
        end] ++ "}"]
  end.

Definition cells : list string :=
  flat_map (fun o => flat_map (fun s => flat_map (cell_json o s) wanted_targets) all_states) all_ops.

Definition allowed_json (s : state) : string :=
  field (state_name s) (names op_name (allowed s)).

Definition json : string :=
  "{" ++ concat ("," ++ newline) [
    field "states" (names state_name all_states);
    field "rows" (rows (map row_json all_ops));
    field "allowed" ("{" ++ concat ", " (map allowed_json all_states) ++ "}");
    field "cells" (rows cells)] ++ "}".

Redirect "lifecycle" Eval vm_compute in json.
