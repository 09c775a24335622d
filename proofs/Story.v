(** * A story of two containers: what [Undo.v] proves, seen on one history *)

From Coq Require Import List Arith.
From Vordr Require Import Lifecycle Undo.
Import ListNotations.
Local Open Scope list_scope.

Definition web : container := Container 7 0 1 [10] [80] created [].
Definition other : container := Container 8 0 1 [11] [] created [].

Definition story : list step :=
  [Step create 1 (Args (Some web) None None None);
   Step start 1 (Args None None (Some 1) None);
   Step pause 1 no_args;
   Step stop 1 no_args;
   Step start 1 (Args None None (Some 2) None);
   Step exit 1 no_args;
   Step remove 1 no_args;
   Step create 2 (Args (Some other) None None None)].

(** The story runs: at its end 1 lies in the trash with two generations, and 2 has its name. *)
Example story_runs : match run story empty with
  | Some (w, us) => option_map c_state (at_ w 1) = Some removed
      /\ option_map c_generations (at_ w 1) = Some [2; 1]
      /\ holder w (Name 1) = Some 2 /\ holder w (Port 80) = None /\ List.length us = 8
  | None => False end.
Proof. vm_compute; repeat split. Qed.

(** Rolled back whole, nothing is left. *)
Example story_rolled_back : match run story empty with
  | Some (w, us) => match run us w with
      | Some (w', _) => at_ w' 1 = None /\ at_ w' 2 = None /\ holder w' (Name 1) = None
      | None => False end
  | None => False end.
Proof. vm_compute; repeat split. Qed.

Definition events : list event := map Act story.

(** The undo of the remove (1 back) is refused: 2 has taken the name. After the undo of 2 it succeeds. *)
Example name_is_taken : undo 1 (history events) = Refused
  /\ match undo 2 (history (events ++ [Undo 0])) with
     | Done y => option_map c_state (at_ (now y) 1) = Some stopped
         /\ holder (now y) (Name 1) = Some 1 /\ holder (now y) (Port 80) = Some 1
     | _ => False end.
Proof. vm_compute; repeat split. Qed.

(** The undo of the first start is blocked by the five later acts on the container. *)
Example later_acts_are_named : match undo 6 (history events) with
  | Blocked later => map (fun e => s_op (e_step e)) later = [remove; exit; start; stop; pause]
  | _ => False end.
Proof. vm_compute; reflexivity. Qed.

(** Restored under another name and taken back, it lies in the trash under the name of before, and the name that
    it had meanwhile is free. *)
Definition renamed : list event := map Act (firstn 7 story) ++
  [Act (Step restore 1 (Args None (Some stopped) None (Some 2)))].

Example restored_under_another_name :
  option_map c_name (at_ (now (history renamed)) 1) = Some 2
  /\ holder (now (history renamed)) (Name 2) = Some 1
  /\ match undo 0 (history renamed) with
     | Done y => option_map c_name (at_ (now y) 1) = Some 1 /\ option_map c_state (at_ (now y) 1) = Some removed
         /\ holder (now y) (Name 2) = None /\ holder (now y) (Name 1) = None
     | _ => False end.
Proof. vm_compute; repeat split. Qed.
