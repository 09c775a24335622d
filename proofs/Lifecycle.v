(** * The lifecycle of a container

    Models [vordr/model/lifecycle.py] (the table) and [vordr/model/steps.py] ([advance]). [Undo.v] goes on with
    many containers and what undo promises, [Verdict.v] with who may make a process.

    T1  the step function is the table and nothing else; removed is final but for restore.
    T3  (for one container) the inverse of a step is legal after it, and gives the container of before. *)

From Coq Require Import List Bool Arith Lia Setoid.
Import ListNotations.
Local Open Scope list_scope.

(** ** The table *)

(** [lifecycle.State] *)
Inductive state := image_only | created | running | paused | stopped | removed.

(** [lifecycle.Op]: first what people and the kernel do, then the inverses. *)
Inductive op :=
  | create | start | pause | resume | stop | kill | exit | remove
  | uncreate | recreate | unstart | reopen | revive | restore.

(** [lifecycle.Fidelity]; no row of the table is lossy. *)
Inductive fidelity := exact | declared.

(** [lifecycle.Row], less its [op]: the table is a function of it. *)
Record row := Row {
  sources : list state;        (* where the operation may begin *)
  targets : list state;        (* where it may lead; the argument [to] chooses among several *)
  inverse : op;                (* what takes it back *)
  truth : fidelity;            (* how true that inverse is *)
  loses_memory : bool;         (* [Row.loss]: the memory of a process is all that a row names *)
  creates_process : bool;      (* whether it needs a verdict *)
  direct : bool                (* whether people may ask for it *)
}.

(** [lifecycle.TABLE] *)
Definition table (o : op) : row :=
  match o with
  | create   => Row [image_only]              [created]                  uncreate exact    false true  true
  | start    => Row [created; stopped]        [running]                  unstart  exact    false true  true
  | pause    => Row [running]                 [paused]                   resume   exact    false false true
  | resume   => Row [paused]                  [running]                  pause    exact    false false true
  | stop     => Row [running; paused]         [stopped]                  revive   declared true  false true
  | kill     => Row [running; paused]         [stopped]                  revive   declared true  false true
  | exit     => Row [running; paused]         [stopped]                  revive   declared true  false false
  | remove   => Row [created; stopped]        [removed]                  restore  exact    false false true
  | uncreate => Row [created; removed]        [image_only]               recreate exact    false false false
  | recreate => Row [image_only]              [created; removed]         uncreate exact    false false false
  | unstart  => Row [running; paused; stopped] [created; stopped]        reopen   declared true  false false
  | reopen   => Row [created; stopped]        [running; paused; stopped] unstart  exact    false true  false
  | revive   => Row [stopped]                 [running; paused]          stop     declared false true  false
  | restore  => Row [removed]                 [created; stopped]         remove   exact    false false false
  end.

Definition all_states : list state := [image_only; created; running; paused; stopped; removed].

Definition all_ops : list op :=
  [create; start; pause; resume; stop; kill; exit; remove;
   uncreate; recreate; unstart; reopen; revive; restore].

Definition state_eqb (a b : state) : bool :=
  match a, b with
  | image_only, image_only | created, created | running, running
  | paused, paused | stopped, stopped | removed, removed => true
  | _, _ => false
  end.

Lemma state_eqb_eq a b : state_eqb a b = true <-> a = b.
Proof. destruct a, b; simpl; split; congruence. Qed.

Definition among (s : state) (l : list state) : bool := existsb (state_eqb s) l.

Lemma among_in s l : among s l = true <-> In s l.
Proof.
  unfold among; rewrite existsb_exists; split.
  - intros (x & H & E); apply state_eqb_eq in E; subst; exact H.
  - intros H; exists s; split; [exact H | apply state_eqb_eq; reflexivity].
Qed.

(** [lifecycle.target]: where [o] leads from [s]; [wanted] chooses among several targets. [None] is its
    IllegalTransition. *)
Definition target (o : op) (s : state) (wanted : option state) : option state :=
  if among s (sources (table o)) then
    match wanted, targets (table o) with
    | Some t, ts => if among t ts then Some t else None
    | None, [t] => Some t
    | None, _ => None
    end
  else None.

(** [lifecycle.makes_process] *)
Definition makes_process (o : op) (wanted : option state) : bool :=
  creates_process (table o) && match wanted with Some stopped => false | _ => true end.

(** [lifecycle.allowed]: what people may ask for. *)
Definition allowed (s : state) : list op :=
  filter (fun o => direct (table o) && among s (sources (table o))) all_ops.

(** T1: a step is taken exactly when the row says so. *)
Theorem t1_step_is_the_table : forall o s wanted t,
  target o s wanted = Some t <->
  In s (sources (table o)) /\ In t (targets (table o)) /\
  (wanted = Some t \/ wanted = None /\ targets (table o) = [t]).
Proof.
  intros o s wanted t; unfold target; split.
  - destruct (among s (sources (table o))) eqn:S; [|discriminate].
    apply among_in in S; destruct wanted as [w|].
    + destruct (among w (targets (table o))) eqn:T; [|discriminate].
      intros [= <-]; apply among_in in T; auto.
    + destruct (targets (table o)) as [|x [|y l]]; try discriminate.
      intros [= <-]; simpl; auto.
  - intros (S & T & [-> | [-> E]]); apply among_in in S; rewrite S.
    + apply among_in in T; rewrite T; reflexivity.
    + rewrite E; reflexivity.
Qed.

(** T1: from removed nothing leads back into life but restore; uncreate only drops the book-keeping. *)
Theorem t1_removed_is_final : forall o wanted t,
  target o removed wanted = Some t ->
  o = restore /\ In t [created; stopped] \/ o = uncreate /\ t = image_only.
Proof.
  intros o wanted t H; apply t1_step_is_the_table in H; destruct H as (S & T & _).
  destruct o; simpl in S, T; try (exfalso; intuition discriminate).
  - right; intuition congruence.
  - left; split; [reflexivity | simpl; intuition congruence].
Qed.

(** Nobody may ask for an operation on what is removed. *)
Theorem t1_nothing_allowed_when_removed : allowed removed = [].
Proof. reflexivity. Qed.

(** T1: wherever a row leads, its inverse leads back. *)
Theorem t1_inverse_leads_back : forall o s wanted t,
  target o s wanted = Some t -> target (inverse (table o)) t (Some s) = Some s.
Proof.
  intros o s wanted t H; apply t1_step_is_the_table in H; destruct H as (S & T & _).
  destruct o; simpl in S, T;
    repeat match goal with H : _ \/ _ |- _ => destruct H | H : False |- _ => destruct H end;
    subst; reflexivity.
Qed.

Example t1_pause_of_a_running_one : target pause running None = Some paused.
Proof. reflexivity. Qed.
Example t1_no_pause_of_a_stopped_one : target pause stopped None = None.
Proof. reflexivity. Qed.
Example t1_restore_needs_to_know_where : target restore removed None = None
  /\ target restore removed (Some stopped) = Some stopped.
Proof. split; reflexivity. Qed.

(** ** One step on one container *)

(** [state.ContainerState] as far as it is declared ([ContainerState.declared]): pid, times, codes and
    counters are not in the state digest. Texts are numbers here: only their equality matters. *)
Record container := Container {
  c_image : nat;               (* manifest digest *)
  c_spec : nat;                (* the spec, opaque *)
  c_name : nat;
  c_addresses : list nat;
  c_ports : list nat;
  c_state : state;
  c_generations : list nat     (* a stack: the newest generation first *)
}.

(** [records.Step.args], as far as they bear on the declared state. *)
Record args := Args {
  a_container : option container;  (* create, recreate *)
  a_to : option state;             (* recreate, unstart, reopen, revive, restore *)
  a_generation : option nat;       (* start, unstart, reopen *)
  a_name : option nat              (* restore, remove *)
}.

Definition no_args : args := Args None None None None.
Definition towards (s : state) : args := Args None (Some s) None None.

(** [records.Step]: one operation on one container. *)
Record step := Step { s_op : op; s_id : nat; s_args : args }.

Definition put (c : container) (s : state) : container :=
  Container (c_image c) (c_spec c) (c_name c) (c_addresses c) (c_ports c) s (c_generations c).

Definition with_generations (c : container) (s : state) (g : list nat) : container :=
  Container (c_image c) (c_spec c) (c_name c) (c_addresses c) (c_ports c) s g.

Definition with_name (c : container) (n : nat) : container :=
  Container (c_image c) (c_spec c) n (c_addresses c) (c_ports c) (c_state c) (c_generations c).

(** Under another name, if one is given. *)
Definition called (c : container) (n : option nat) : container :=
  match n with Some n => with_name c n | None => c end.

Lemma called_state c n : c_state (called c n) = c_state c.
Proof. destruct n; reflexivity. Qed.

(** [None] is an image only. *)
Definition state_of (b : option container) : state :=
  match b with None => image_only | Some c => c_state c end.

(** What a step leads to: the container after it, and the operation that takes it back with its arguments
    ([steps.Advance]). *)
Definition advanced : Type := option container * (op * args).

Definition bind {A B} (x : option A) (f : A -> option B) : option B :=
  match x with Some a => f a | None => None end.

(** [steps.advance]. [None] is a refusal: nothing happens, nothing is journalled. *)
Definition advance (o : op) (before : option container) (a : args) : option advanced :=
  if among (state_of before) (sources (table o)) then
    match o, before with
    | create, None =>
        bind (a_container a) (fun c => Some (Some (put c created), (uncreate, no_args)))
    | recreate, None =>
        bind (a_container a) (fun c =>
        bind (a_to a) (fun t =>
        bind (target recreate image_only (Some t)) (fun t => Some (Some (put c t), (uncreate, no_args)))))
    | uncreate, Some c =>
        Some (None, (recreate, Args (Some c) (Some (c_state c)) None None))
    | remove, Some c =>
        Some (Some (called (put c removed) (a_name a)),
              (restore, Args None (Some (c_state c)) None (Some (c_name c))))
    | restore, Some c =>
        bind (a_to a) (fun t =>
        bind (target restore (c_state c) (Some t)) (fun t =>
        Some (Some (called (put c t) (a_name a)), (remove, Args None None None (Some (c_name c))))))
    | start, Some c =>
        bind (a_generation a) (fun g =>
        Some (Some (with_generations c running (g :: c_generations c)),
              (unstart, Args None (Some (c_state c)) (Some g) None)))
    | unstart, Some c =>
        bind (a_generation a) (fun g =>
        bind (a_to a) (fun t =>
        bind (target unstart (c_state c) (Some t)) (fun t =>
        match c_generations c with
        | top :: rest =>
            if Nat.eqb top g
            then Some (Some (with_generations c t rest),
                       (reopen, Args None (Some (c_state c)) (Some g) None))
            else None
        | [] => None
        end)))
    | reopen, Some c =>
        bind (a_generation a) (fun g =>
        bind (a_to a) (fun t =>
        bind (target reopen (c_state c) (Some t)) (fun t =>
        Some (Some (with_generations c t (g :: c_generations c)),
              (unstart, Args None (Some (c_state c)) (Some g) None)))))
    | (pause | resume), Some c =>
        bind (target o (c_state c) None) (fun t => Some (Some (put c t), (inverse (table o), no_args)))
    | (stop | kill | exit), Some c =>
        Some (Some (put c stopped), (revive, towards (c_state c)))
    | revive, Some c =>
        bind (a_to a) (fun t =>
        bind (target revive (c_state c) (Some t)) (fun t => Some (Some (put c t), (stop, no_args))))
    | _, _ => None
    end
  else None.

Ltac unbind :=
  repeat match goal with
  | H : bind ?x _ = Some _ |- _ => let E := fresh "E" in destruct x eqn:E; simpl in H; [|discriminate]
  | H : Some _ = Some _ |- _ => injection H; clear H; intros; subst
  | H : None = Some _ |- _ => discriminate
  | H : among _ _ = true |- _ => apply among_in in H; simpl in H
  | H : _ \/ _ |- _ => destruct H
  | H : False |- _ => destruct H
  end.

(** T1: [advance] changes the state as the table says and in no other way. *)
Theorem t1_advance_follows_the_table : forall o before a after u,
  advance o before a = Some (after, u) ->
  In (state_of before) (sources (table o)) /\
  In (state_of after) (targets (table o)) /\
  fst u = inverse (table o).
Proof.
  intros o before a after u H; unfold advance in H.
  destruct (among (state_of before) (sources (table o))) eqn:S; [|discriminate].
  apply among_in in S; split; [exact S|].
  destruct o, before as [c|]; simpl in H, S; unbind; simpl; rewrite ?called_state; simpl; auto;
    try (match goal with H : target _ _ _ = Some _ |- _ => apply t1_step_is_the_table in H; simpl in H end;
         intuition (subst; auto; congruence)).
  all: destruct (c_generations c) as [|top rest]; [discriminate|];
    destruct (Nat.eqb top n); [|discriminate]; unbind; simpl;
    apply t1_step_is_the_table in E1; simpl in E1; intuition (subst; auto; congruence).
Qed.

(** ** Undo of one step *)

(** T3, on one container: what [advance] names as the inverse is legal where the step led to, and gives the
    container of before, to the letter: its name too, where it was restored under another one. *)
Theorem t3_inverse_restores : forall o before a after u ua,
  advance o before a = Some (after, (u, ua)) ->
  exists v, advance u after ua = Some (before, v).
Proof.
  intros o before a after u ua H.
  unfold advance in H.
  destruct (among (state_of before) (sources (table o))) eqn:S; [|discriminate].
  apply among_in in S.
  destruct o, before as [[im sp nm ad po st ge]|]; simpl in H, S; unbind; simpl in *; unbind;
    subst; simpl in *; try discriminate;
    try (destruct ge as [|top rest]; [discriminate|];
         destruct (Nat.eqb_spec top n); [subst|discriminate]; unbind);
    try (match goal with H : target _ _ _ = Some _ |- _ => apply t1_step_is_the_table in H; simpl in H end;
         repeat match goal with
         | H : _ /\ _ |- _ => destruct H
         | H : _ \/ _ |- _ => destruct H
         | H : False |- _ => destruct H
         end; subst; try discriminate);
    unfold advance, called, with_name; simpl; rewrite ?Nat.eqb_refl;
    try (destruct (a_name a); simpl);
    eexists; reflexivity.
Qed.
