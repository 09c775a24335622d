(** * The lifecycle of a container, and what undo promises

    Models [vordr/model/lifecycle.py] (the table), [vordr/model/steps.py] ([advance]), the undo planning of
    [vordr/model/plan.py], and the compare-and-append of [vordr/actors/container.py] and
    [vordr/actors/transaction.py].

    T1  the step function is the table and nothing else; removed is final but for restore.
    T2  no process without a verdict on its image that came before it and was not revoked in between.
    T3  undo gives the declared state back; a rollback of n acts is the identity; undo of undo is redo; an
        undo that would clash with a later live act is refused. *)

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
  a_name : option nat              (* restore *)
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
        Some (Some (put c removed), (restore, Args None (Some (c_state c)) None (Some (c_name c))))
    | restore, Some c =>
        bind (a_to a) (fun t =>
        bind (target restore (c_state c) (Some t)) (fun t =>
        let n := match a_name a with Some n => n | None => c_name c end in
        Some (Some (with_name (put c t) n), (remove, no_args))))
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
  destruct o, before as [c|]; simpl in H, S; unbind; simpl; auto;
    try (match goal with H : target _ _ _ = Some _ |- _ => apply t1_step_is_the_table in H; simpl in H end;
         intuition (subst; auto; congruence)).
  all: destruct (c_generations c) as [|top rest]; [discriminate|];
    destruct (Nat.eqb top n); [|discriminate]; unbind; simpl;
    apply t1_step_is_the_table in E1; simpl in E1; intuition (subst; auto; congruence).
Qed.

(** ** Undo of one step *)

(** A restore that gives the container its old name. Under another name its inverse is a plain remove, which
    leaves the new name on what lies in the trash: undo is then reported as partial (see the example below). *)
Definition keeps_name (o : op) (before : option container) (a : args) : Prop :=
  o = restore -> forall n c, a_name a = Some n -> before = Some c -> n = c_name c.

Lemma put_same c : put c (c_state c) = c.
Proof. destruct c; reflexivity. Qed.

(** T3, on one container: what [advance] names as the inverse is legal where the step led to, and gives the
    container of before, to the letter. *)
Theorem t3_inverse_restores : forall o before a after u ua,
  advance o before a = Some (after, (u, ua)) -> keeps_name o before a ->
  (exists v, advance u after ua = Some (before, v)) /\ keeps_name u after ua.
Proof.
  intros o before a after u ua H K.
  destruct (t1_advance_follows_the_table _ _ _ _ _ H) as (_ & _ & I); simpl in I.
  unfold advance in H.
  destruct (among (state_of before) (sources (table o))) eqn:S; [|discriminate].
  apply among_in in S; split.
  - clear I; destruct o, before as [[im sp nm ad po st ge]|]; simpl in H, S; unbind; simpl in *; unbind;
      subst; simpl in *; try discriminate;
      try (destruct ge as [|top rest]; [discriminate|];
           destruct (Nat.eqb_spec top n); [subst|discriminate]; unbind);
      try (match goal with H : target _ _ _ = Some _ |- _ => apply t1_step_is_the_table in H; simpl in H end;
           repeat match goal with
           | H : _ /\ _ |- _ => destruct H
           | H : _ \/ _ |- _ => destruct H
           | H : False |- _ => destruct H
           end; subst; try discriminate);
      unfold advance, with_name; simpl; rewrite ?Nat.eqb_refl;
      try (destruct (a_name a) as [x|] eqn:N; [rewrite (K eq_refl x _ N eq_refl)|]; simpl);
      eexists; reflexivity.
  - intros U n c N A; rewrite U in I; destruct o; try discriminate I.
    destruct before as [b|]; simpl in H; [|discriminate]; unbind.
    simpl in *; congruence.
Qed.

(** ** All containers, and the names, addresses and ports they hold *)

(** Projection keys that only one container may hold: [names/...], an address, a published port. *)
Inductive key := Name (n : nat) | Address (n : nat) | Port (n : nat).

Definition key_eqb (a b : key) : bool :=
  match a, b with
  | Name x, Name y | Address x, Address y | Port x, Port y => Nat.eqb x y
  | _, _ => false
  end.

Lemma key_eqb_eq a b : key_eqb a b = true <-> a = b.
Proof. destruct a, b; simpl; rewrite ?Nat.eqb_eq; split; congruence. Qed.

Definition keys (c : container) : list key :=
  Name (c_name c) :: map Address (c_addresses c) ++ map Port (c_ports c).

(** What a container holds: all its keys while it stands, none when it lies in the trash. *)
Definition holds (b : option container) : list key :=
  match b with
  | Some c => if state_eqb (c_state c) removed then [] else keys c
  | None => []
  end.

Definition member (k : key) (l : list key) : bool := existsb (key_eqb k) l.

Lemma member_in k l : member k l = true <-> In k l.
Proof.
  unfold member; rewrite existsb_exists; split.
  - intros (x & H & E); apply key_eqb_eq in E; subst; exact H.
  - intros H; exists k; split; [exact H | apply key_eqb_eq; reflexivity].
Qed.

Lemma member_not k l : member k l = false <-> ~ In k l.
Proof. rewrite <- member_in; destruct (member k l); split; congruence. Qed.

(** The projection: [containers/ID], and who holds a key. *)
Record world := World { at_ : nat -> option container; holder : key -> option nat }.

Definition empty : world := World (fun _ => None) (fun _ => None).

Definition upd {A} (f : nat -> A) (i : nat) (x : A) : nat -> A := fun j => if Nat.eqb j i then x else f j.

Lemma upd_same {A} (f : nat -> A) i x : upd f i x i = x.
Proof. unfold upd; rewrite Nat.eqb_refl; reflexivity. Qed.

Lemma upd_other {A} (f : nat -> A) i j x : j <> i -> upd f i x j = f j.
Proof. intros H; unfold upd; destruct (Nat.eqb_spec j i); [contradiction | reflexivity]. Qed.

(** The compare-and-append on a key: it is free, or ours already. *)
Definition free_for (w : world) (i : nat) (k : key) : bool :=
  match holder w k with None => true | Some j => Nat.eqb j i end.

(** One journalled step: [advance], refused where a key that it takes is held by another container
    ([Plan.conditions], [busy/] and [names/] of [transaction.py]). Gives the world after it and the inverse. *)
Definition wstep (s : step) (w : world) : option (world * step) :=
  match advance (s_op s) (at_ w (s_id s)) (s_args s) with
  | None => None
  | Some (after, (u, ua)) =>
      if forallb (free_for w (s_id s)) (holds after) then
        Some (World (upd (at_ w) (s_id s) after)
                    (fun k => if member k (holds after) then Some (s_id s)
                              else if member k (holds (at_ w (s_id s))) then None
                              else holder w k),
              Step u (s_id s) ua)
      else None
  end.

(** The same declared state: each container, and each holder of a name, address or port. *)
Definition same (v w : world) : Prop :=
  (forall i, at_ v i = at_ w i) /\ (forall k, holder v k = holder w k).

(** The journal's invariant: a key is held by exactly the container that has it and stands. *)
Definition coherent (w : world) : Prop :=
  forall k i, holder w k = Some i <-> In k (holds (at_ w i)).

Lemma same_refl w : same w w.
Proof. split; reflexivity. Qed.

Lemma same_sym v w : same v w -> same w v.
Proof. intros [A B]; split; intros; symmetry; auto. Qed.

Lemma same_trans u v w : same u v -> same v w -> same u w.
Proof. intros [A B] [C D]; split; intros; [rewrite A | rewrite B]; auto. Qed.

Lemma coherent_empty : coherent empty.
Proof. intros k i; simpl; split; [discriminate | contradiction]. Qed.

Lemma wstep_coherent s w w' u : coherent w -> wstep s w = Some (w', u) -> coherent w'.
Proof.
  intros C H; unfold coherent in *; unfold wstep in H.
  destruct (advance _ _ _) as [[after [o ua]]|]; [|discriminate].
  destruct (forallb _ _) eqn:F; [|discriminate]; injection H as <- <-.
  rewrite forallb_forall in F; intros k i; simpl.
  destruct (member k (holds after)) eqn:M.
  - apply member_in in M; destruct (Nat.eq_dec i (s_id s)) as [->|N].
    + rewrite upd_same; tauto.
    + rewrite upd_other by exact N; rewrite <- C; split; [congruence|].
      specialize (F k M); unfold free_for in F; intros E; rewrite E in F.
      apply Nat.eqb_eq in F; congruence.
  - apply member_not in M; destruct (Nat.eq_dec i (s_id s)) as [->|N].
    + rewrite upd_same; destruct (member k (holds (at_ w (s_id s)))) eqn:B; [intuition discriminate|].
      apply member_not in B; rewrite C; tauto.
    + rewrite upd_other by exact N; destruct (member k (holds (at_ w (s_id s)))) eqn:B; [|apply C].
      apply member_in in B; apply C in B; rewrite <- C; split; congruence.
Qed.

Lemma wstep_same s v w v' u :
  same v w -> wstep s v = Some (v', u) -> exists w', wstep s w = Some (w', u) /\ same v' w'.
Proof.
  intros [A B] H; unfold wstep in *; rewrite <- A.
  destruct (advance _ _ _) as [[after [o ua]]|]; [|discriminate].
  destruct (forallb (free_for v _) _) eqn:F; [|discriminate]; injection H as <- <-.
  replace (forallb (free_for w (s_id s)) (holds after)) with true.
  - eexists; split; [reflexivity|]; split; simpl; intros.
    + unfold upd; rewrite A; reflexivity.
    + rewrite B; reflexivity.
  - symmetry; rewrite forallb_forall in *; intros k K; specialize (F k K).
    unfold free_for in *; rewrite <- B; exact F.
Qed.

(** [keeps_name], of a step in a world. *)
Definition faithful (s : step) (w : world) : Prop := keeps_name (s_op s) (at_ w (s_id s)) (s_args s).

(** T3: for every legal step, its inverse is legal right after it and gives the declared state back: every
    container's state and generation stack, every name, address and port. *)
Theorem t3_undo_of_a_step : forall s w w' u,
  coherent w -> faithful s w -> wstep s w = Some (w', u) ->
  exists w'' r, wstep u w' = Some (w'', r) /\ same w'' w /\ faithful u w'.
Proof.
  intros s w w' u C K H; unfold wstep in H.
  destruct (advance _ _ _) as [[after [o ua]]|] eqn:A; [|discriminate].
  destruct (forallb _ _) eqn:F; [|discriminate]; injection H as <- <-.
  destruct (t3_inverse_restores _ _ _ _ _ _ A K) as [[[v va] R] K'].
  rewrite forallb_forall in F.
  unfold wstep, faithful; simpl; rewrite upd_same, R.
  replace (forallb _ (holds (at_ w (s_id s)))) with true.
  2:{ symmetry; apply forallb_forall; intros k Hk; unfold free_for; simpl.
      destruct (member k (holds after)); [apply Nat.eqb_refl|].
      apply member_in in Hk; rewrite Hk; reflexivity. }
  do 2 eexists; split; [reflexivity|]; split; [|exact K']; split; simpl.
  - intros i; unfold upd; destruct (Nat.eqb_spec i (s_id s)); subst; reflexivity.
  - intros k; destruct (member k (holds (at_ w (s_id s)))) eqn:B.
    + apply member_in in B; apply C in B; congruence.
    + destruct (member k (holds after)) eqn:M; [|reflexivity].
      apply member_in in M; specialize (F k M); unfold free_for in F.
      destruct (holder w k) as [j|] eqn:J; [|reflexivity].
      apply Nat.eqb_eq in F; subst; apply C in J; apply member_not in B; contradiction.
Qed.

(** T3: undo of undo is redo. *)
Theorem t3_undo_of_undo_is_redo : forall s w w' u,
  coherent w -> faithful s w -> wstep s w = Some (w', u) ->
  exists w'' r w''' u', wstep u w' = Some (w'', r) /\ wstep r w'' = Some (w''', u') /\ same w''' w'.
Proof.
  intros s w w' u C K H.
  destruct (t3_undo_of_a_step _ _ _ _ C K H) as (w'' & r & U & _ & K').
  destruct (t3_undo_of_a_step _ _ _ _ (wstep_coherent _ _ _ _ C H) K' U) as (w''' & u' & R & S & _).
  exists w'', r, w''', u'; auto.
Qed.

(** ** Rollback *)

(** Steps in order; gives the world after them and their inverses, newest first. *)
Fixpoint run (ss : list step) (w : world) : option (world * list step) :=
  match ss with
  | [] => Some (w, [])
  | s :: rest =>
      match wstep s w with
      | None => None
      | Some (w1, u) =>
          match run rest w1 with
          | None => None
          | Some (w2, us) => Some (w2, us ++ [u])
          end
      end
  end.

(** Each step of [ss] keeps names, where it runs. *)
Fixpoint all_faithful (ss : list step) (w : world) : Prop :=
  match ss with
  | [] => True
  | s :: rest => faithful s w /\ forall w1 u, wstep s w = Some (w1, u) -> all_faithful rest w1
  end.

Lemma run_same ss : forall v w v' us,
  same v w -> run ss v = Some (v', us) -> exists w', run ss w = Some (w', us) /\ same v' w'.
Proof.
  induction ss as [|s ss IH]; simpl; intros v w v' us E H.
  - injection H as <- <-; eauto.
  - destruct (wstep s v) as [[v1 u]|] eqn:S; [|discriminate].
    destruct (wstep_same _ _ _ _ _ E S) as (w1 & -> & E1).
    destruct (run ss v1) as [[v2 us2]|] eqn:R; [|discriminate]; injection H as <- <-.
    destruct (IH _ _ _ _ E1 R) as (w2 & -> & E2); eauto.
Qed.

Lemma run_app a b w w1 us1 w2 us2 :
  run a w = Some (w1, us1) -> run b w1 = Some (w2, us2) -> run (a ++ b) w = Some (w2, us2 ++ us1).
Proof.
  revert w us1; induction a as [|s a IH]; simpl; intros w us1 A B.
  - injection A as <- <-; rewrite B, app_nil_r; reflexivity.
  - destruct (wstep s w) as [[w' u]|]; [|discriminate].
    destruct (run a w') as [[w'' us]|] eqn:R; [|discriminate]; injection A as <- <-.
    rewrite (IH _ _ R B), app_assoc; reflexivity.
Qed.

(** T3: the rollback of any legal steps is the identity on the declared state. *)
Theorem t3_rollback_is_identity : forall ss w w' us,
  coherent w -> all_faithful ss w -> run ss w = Some (w', us) ->
  exists w'' rs, run us w' = Some (w'', rs) /\ same w'' w.
Proof.
  induction ss as [|s ss IH]; simpl; intros w w' us C K H.
  - injection H as <- <-; exists w, []; split; [reflexivity | apply same_refl].
  - destruct K as [K KS], (wstep s w) as [[w1 u]|] eqn:S; [|discriminate].
    destruct (run ss w1) as [[w2 us2]|] eqn:R; [|discriminate]; injection H as <- <-.
    destruct (IH _ _ _ (wstep_coherent _ _ _ _ C S) (KS _ _ eq_refl) R) as (w3 & rs & U & E).
    destruct (t3_undo_of_a_step _ _ _ _ C K S) as (w4 & r & V & E4 & _).
    destruct (wstep_same _ _ _ _ _ (same_sym _ _ E) V) as (w5 & V' & E5).
    exists w5, ([r] ++ rs); split.
    + apply run_app with (w1 := w3); [exact U | simpl; rewrite V'; reflexivity].
    + apply same_trans with w4; [apply same_sym|]; assumption.
Qed.

Lemma run_split ss : forall n w w' us, run ss w = Some (w', us) ->
  exists w1 us1 us2, run (firstn n ss) w = Some (w1, us1) /\ run (skipn n ss) w1 = Some (w', us2)
    /\ us = us2 ++ us1.
Proof.
  induction ss as [|s ss IH]; intros [|n] w w' us H.
  - injection H as <- <-; exists w, [], []; auto.
  - injection H as <- <-; exists w, [], []; auto.
  - exists w, [], us; rewrite app_nil_r; auto.
  - simpl in *; destruct (wstep s w) as [[w1 u]|]; [|discriminate].
    destruct (run ss w1) as [[w2 us2]|] eqn:R; [|discriminate]; injection H as <- <-.
    destruct (IH n _ _ _ R) as (w3 & us3 & us4 & A & B & ->); rewrite A.
    exists w3, (us3 ++ [u]), us4; rewrite app_assoc; auto.
Qed.

Lemma all_faithful_skip ss : forall n w w1 us1,
  all_faithful ss w -> run (firstn n ss) w = Some (w1, us1) -> all_faithful (skipn n ss) w1.
Proof.
  induction ss as [|s ss IH]; intros [|n] w w1 us1 K H; simpl in *;
    try (injection H as <- <-; exact K).
  destruct K as [K KS], (wstep s w) as [[w2 u]|] eqn:S; [|discriminate].
  destruct (run (firstn n ss) w2) as [[w3 us3]|] eqn:R; [|discriminate]; injection H as <- <-.
  exact (IH n _ _ _ (KS _ _ eq_refl) R).
Qed.

Lemma run_coherent ss : forall w w' us, coherent w -> run ss w = Some (w', us) -> coherent w'.
Proof.
  induction ss as [|s ss IH]; simpl; intros w w' us C H.
  - injection H as <- <-; exact C.
  - destruct (wstep s w) as [[w1 u]|] eqn:S; [|discriminate].
    destruct (run ss w1) as [[w2 us2]|] eqn:R; [|discriminate]; injection H as <- <-.
    exact (IH _ _ _ (wstep_coherent _ _ _ _ C S) R).
Qed.

(** T3: rolling back the newest n of any legal steps gives exactly the world before them. *)
Theorem t3_rollback_of_the_newest : forall ss n w w' us,
  coherent w -> all_faithful ss w -> run ss w = Some (w', us) ->
  exists w1 us1 w2 rs,
    run (firstn n ss) w = Some (w1, us1) /\
    run (firstn (List.length ss - n) us) w' = Some (w2, rs) /\ same w2 w1.
Proof.
  intros ss n w w' us C K H.
  destruct (run_split ss n _ _ _ H) as (w1 & us1 & us2 & A & B & ->).
  destruct (t3_rollback_is_identity _ _ _ _ (run_coherent _ _ _ _ C A)
              (all_faithful_skip _ _ _ _ _ K A) B) as (w2 & rs & U & E).
  exists w1, us1, w2, rs; split; [exact A|]; split; [|exact E].
  assert (L : forall l x y vs, run l x = Some (y, vs) -> List.length vs = List.length l).
  { induction l as [|s l IH]; simpl; intros x y vs R; [injection R as <- <-; reflexivity|].
    destruct (wstep s x) as [[x1 u]|]; [|discriminate].
    destruct (run l x1) as [[x2 vs2]|] eqn:R2; [|discriminate]; injection R as <- <-.
    rewrite app_length, (IH _ _ _ R2); simpl; lia. }
  replace (List.length ss - n) with (List.length us2 + 0).
  - rewrite firstn_app_2; simpl; rewrite app_nil_r; exact U.
  - rewrite (L _ _ _ _ B), skipn_length; lia.
Qed.

(** T3: a step, also one that undoes, is refused where it would take what another container holds. *)
Theorem t3_clash_is_refused : forall s w k j after u,
  advance (s_op s) (at_ w (s_id s)) (s_args s) = Some (after, u) ->
  In k (holds after) -> holder w k = Some j -> j <> s_id s ->
  wstep s w = None.
Proof.
  intros s w k j after [u ua] A K J N; unfold wstep; rewrite A.
  destruct (forallb _ _) eqn:F; [|reflexivity].
  rewrite forallb_forall in F; specialize (F k K); unfold free_for in F; rewrite J in F.
  apply Nat.eqb_eq in F; contradiction.
Qed.

(** ** Undo in a history *)

(** One committed act of one step, as the act index keeps it ([records.Act], [records.StepDone]). *)
Record entry := Entry {
  e_step : step;
  e_inverse : step;
  e_before : option container;
  e_after : option container;
  e_live : bool;               (* not undone *)
  e_is_undo : bool             (* [Act.undoes] is set *)
}.

(** The world, and what was done, newest first. *)
Record session := Session { now : world; past : list entry }.

Definition fresh : session := Session empty [].

Definition did (s u : step) (w w' : world) (is_undo : bool) : entry :=
  Entry s u (at_ w (s_id s)) (at_ w' (s_id s)) true is_undo.

Inductive answer := Done (s : session) | Blocked (by_ : list entry) | Refused.

(** An act that somebody asks for. *)
Definition perform (s : step) (x : session) : answer :=
  match wstep s (now x) with
  | None => Refused
  | Some (w, u) => Done (Session w (did s u (now x) w false :: past x))
  end.

(** [plan._in_the_way]: a live act on the same container. An undo is in nobody's way. *)
Definition in_the_way (subject : nat) (e : entry) : bool :=
  e_live e && negb (e_is_undo e) && Nat.eqb (s_id (e_step e)) subject.

Definition mark_undone (e : entry) : entry :=
  Entry (e_step e) (e_inverse e) (e_before e) (e_after e) false (e_is_undo e).

(** [plan.choose] by transaction and [plan.plan_undo] without cascade: take back the act [n] places back. *)
Definition undo (n : nat) (x : session) : answer :=
  match nth_error (past x) n with
  | Some e =>
      if e_live e && negb (e_is_undo e) then
        match filter (in_the_way (s_id (e_step e))) (firstn n (past x)) with
        | [] =>
            match wstep (e_inverse e) (now x) with
            | None => Refused
            | Some (w, u) =>
                Done (Session w
                  (did (e_inverse e) u (now x) w true
                   :: firstn n (past x) ++ mark_undone e :: skipn (S n) (past x)))
            end
        | later => Blocked later
        end
      else Refused
  | None => Refused
  end.

(** What happens in a session: acts and undos. Refused ones change nothing. *)
Inductive event := Act (s : step) | Undo (n : nat).

Definition happen (e : event) (x : session) : session :=
  match (match e with Act s => perform s x | Undo n => undo n x end) with
  | Done y => y
  | _ => x
  end.

Definition history (es : list event) : session := fold_left (fun x e => happen e x) es fresh.

(** The live acts on one container hang together: the newest left it as it is now, the one before left it as
    the newest found it, and so on down to nothing. *)
Fixpoint chained (i : nat) (b : option container) (es : list entry) : Prop :=
  match es with
  | [] => b = None
  | e :: rest => if in_the_way i e then b = e_after e /\ chained i (e_before e) rest else chained i b rest
  end.

(** Each entry is a step that [advance] allowed, with its inverse. *)
Definition recorded (e : entry) : Prop :=
  advance (s_op (e_step e)) (e_before e) (s_args (e_step e))
    = Some (e_after e, (s_op (e_inverse e), s_args (e_inverse e)))
  /\ s_id (e_inverse e) = s_id (e_step e).

Definition sound (x : session) : Prop :=
  coherent (now x) /\ (forall i, chained i (at_ (now x) i) (past x)) /\ Forall recorded (past x).

Lemma wstep_inv s w w' u : wstep s w = Some (w', u) ->
  advance (s_op s) (at_ w (s_id s)) (s_args s) = Some (at_ w' (s_id s), (s_op u, s_args u))
  /\ s_id u = s_id s /\ (forall j, j <> s_id s -> at_ w' j = at_ w j).
Proof.
  unfold wstep; destruct (advance _ _ _) as [[after [o ua]]|]; [|discriminate].
  destruct (forallb _ _); [|discriminate]; intros H; injection H as <- <-; simpl.
  rewrite upd_same; repeat split; auto using @upd_other.
Qed.

Lemma chained_skip i b a rest : filter (in_the_way i) a = [] -> chained i b (a ++ rest) = chained i b rest.
Proof.
  induction a as [|e a IH]; simpl; [reflexivity|].
  destruct (in_the_way i e); [discriminate | exact IH].
Qed.

Lemma chained_below i e : in_the_way i e = false -> forall rest l b,
  chained i b (l ++ e :: rest) -> chained i b (l ++ rest).
Proof.
  intros E rest; induction l as [|x l IH]; simpl; intros b.
  - rewrite E; auto.
  - destruct (in_the_way i x); [intros [-> H]; split; auto | apply IH].
Qed.

Lemma chained_insert i e : in_the_way i e = false -> forall rest l b,
  chained i b (l ++ rest) -> chained i b (l ++ e :: rest).
Proof.
  intros E rest; induction l as [|x l IH]; simpl; intros b.
  - rewrite E; auto.
  - destruct (in_the_way i x); [intros [-> H]; split; auto | apply IH].
Qed.

Lemma past_split n (l : list entry) e : nth_error l n = Some e -> l = firstn n l ++ e :: skipn (S n) l.
Proof.
  revert l; induction n as [|n IH]; intros [|x l]; simpl; try discriminate.
  - intros [= ->]; reflexivity.
  - intros H; f_equal; exact (IH _ H).
Qed.

Lemma undo_done n x y : undo n x = Done y -> exists e w u,
  nth_error (past x) n = Some e /\ e_live e = true /\ e_is_undo e = false /\
  filter (in_the_way (s_id (e_step e))) (firstn n (past x)) = [] /\
  wstep (e_inverse e) (now x) = Some (w, u) /\
  y = Session w (did (e_inverse e) u (now x) w true
                 :: firstn n (past x) ++ mark_undone e :: skipn (S n) (past x)).
Proof.
  unfold undo; destruct (nth_error _ _) as [e|]; [|discriminate].
  destruct (e_live e) eqn:L, (e_is_undo e) eqn:U; try discriminate; simpl.
  destruct (filter _ _) eqn:F; [|discriminate].
  destruct (wstep _ _) as [[w u]|] eqn:S; [|discriminate].
  intros [= <-]; exists e, w, u; auto 7.
Qed.

Lemma sound_now x n e : sound x -> nth_error (past x) n = Some e ->
  e_live e = true -> e_is_undo e = false ->
  filter (in_the_way (s_id (e_step e))) (firstn n (past x)) = [] ->
  at_ (now x) (s_id (e_step e)) = e_after e
  /\ chained (s_id (e_step e)) (e_before e) (skipn (S n) (past x))
  /\ recorded e.
Proof.
  intros (_ & H & R) N L U F; specialize (H (s_id (e_step e))).
  rewrite (past_split _ _ _ N), chained_skip in H by exact F; simpl in H.
  unfold in_the_way in H at 1; rewrite L, U, Nat.eqb_refl in H; simpl in H.
  rewrite Forall_forall in R; apply nth_error_In in N; intuition.
Qed.

Lemma sound_perform s x y : sound x -> perform s x = Done y -> sound y.
Proof.
  intros (C & H & R); unfold perform; destruct (wstep _ _) as [[w u]|] eqn:S; [|discriminate].
  intros [= <-]; destruct (wstep_inv _ _ _ _ S) as (A & I & O); split; [|split]; simpl.
  - exact (wstep_coherent _ _ _ _ C S).
  - intros i; unfold in_the_way; simpl; destruct (Nat.eqb_spec (s_id s) i) as [<-|N].
    + split; [reflexivity | apply H].
    + rewrite O by congruence; apply H.
  - constructor; [split; simpl; assumption | exact R].
Qed.

Lemma sound_undo n x y : sound x -> undo n x = Done y ->
  (forall e, nth_error (past x) n = Some e ->
    keeps_name (s_op (e_step e)) (e_before e) (s_args (e_step e))) -> sound y.
Proof.
  intros G H K; destruct (undo_done _ _ _ H) as (e & w & u & N & L & U & F & S & ->).
  specialize (K e N); destruct (sound_now _ _ _ G N L U F) as (T & B & A & I).
  destruct G as (C & G & R), (wstep_inv _ _ _ _ S) as (V & J & O).
  pose proof (past_split _ _ _ N) as P; rewrite P in R.
  assert (Q : forall i, chained i (at_ (now x) i) (firstn n (past x) ++ e :: skipn (Datatypes.S n) (past x)))
    by (rewrite <- P; exact G).
  revert B F Q R; generalize (skipn (Datatypes.S n) (past x)) (firstn n (past x)).
  intros older newer B F Q R; rewrite I in *; rewrite T in V.
  destruct (t3_inverse_restores _ _ _ _ _ _ A K) as [[v W] _].
  rewrite V in W; injection W as W _.
  split; [|split]; simpl.
  - exact (wstep_coherent _ _ _ _ C S).
  - intros i; destruct (Nat.eq_dec i (s_id (e_step e))) as [->|D].
    + rewrite W, chained_skip by exact F; exact B.
    + rewrite O by exact D; apply chained_insert; [reflexivity|].
      apply chained_below with e; [|apply Q].
      unfold in_the_way; rewrite L, U; simpl; apply Nat.eqb_neq; congruence.
  - apply Forall_app in R; destruct R as [R1 R2]; inversion R2; subst; constructor.
    + split; simpl; [rewrite I, T; exact V | congruence].
    + apply Forall_app; split; [exact R1|]; constructor; [split; simpl; assumption | assumption].
Qed.

(** Every restore in the history keeps the name. *)
Definition names_kept (x : session) : Prop :=
  Forall (fun e => keeps_name (s_op (e_step e)) (e_before e) (s_args (e_step e))) (past x).

(** Every restore in the history keeps the name, as it happens. *)
Fixpoint kept (es : list event) (x : session) : Prop :=
  match es with
  | [] => True
  | e :: rest => match e with Act s => faithful s (now x) | Undo _ => True end /\ kept rest (happen e x)
  end.

Lemma kept_entry n x e : names_kept x -> nth_error (past x) n = Some e ->
  keeps_name (s_op (e_step e)) (e_before e) (s_args (e_step e)).
Proof. unfold names_kept; rewrite Forall_forall; intros K N; apply K, (nth_error_In _ _ N). Qed.

Lemma happen_sound e x : sound x -> names_kept x ->
  match e with Act s => faithful s (now x) | Undo _ => True end ->
  sound (happen e x) /\ names_kept (happen e x).
Proof.
  intros G K F; unfold happen; destruct e as [s|n].
  - destruct (perform s x) as [y|l|] eqn:P; auto; split; [exact (sound_perform _ _ _ G P)|].
    unfold perform in P; destruct (wstep _ _) as [[w u]|]; [|discriminate].
    injection P as <-; constructor; [exact F | exact K].
  - destruct (undo n x) as [y|l|] eqn:U; auto; split.
    + exact (sound_undo _ _ _ G U (fun e => kept_entry n x e K)).
    + destruct (undo_done _ _ _ U) as (a & w & u & N & L & D & B & S & ->).
      destruct (sound_now _ _ _ G N L D B) as (T & _ & A & I).
      destruct (t3_inverse_restores _ _ _ _ _ _ A (kept_entry _ _ _ K N)) as [_ KI].
      unfold names_kept in *; rewrite (past_split _ _ _ N) in K; apply Forall_app in K.
      destruct K as [K1 K2]; inversion K2; subst.
      constructor; [simpl; rewrite I, T; exact KI|].
      apply Forall_app; split; [exact K1 | constructor; assumption].
Qed.

Lemma history_good es : kept es fresh -> sound (history es) /\ names_kept (history es).
Proof.
  unfold history; assert (H : sound fresh /\ names_kept fresh).
  { split; [|constructor]; split; [exact coherent_empty|]; split; [reflexivity | constructor]. }
  revert H; generalize fresh; induction es as [|e es IH]; simpl; intros x [G K] R; auto.
  destruct R as [F R]; apply IH; [apply happen_sound; assumption | exact R].
Qed.

(** T3: after any history of acts and undos, an undo that is not refused gives its container the declared
    state of before the act, touches no other, and leaves names, addresses and ports with who stands. *)
Theorem t3_undo_in_any_history : forall es n y,
  kept es fresh -> undo n (history es) = Done y ->
  exists e, nth_error (past (history es)) n = Some e /\
    at_ (now y) (s_id (e_step e)) = e_before e /\
    (forall j, j <> s_id (e_step e) -> at_ (now y) j = at_ (now (history es)) j) /\
    coherent (now y).
Proof.
  intros es n y K U; destruct (history_good es K) as [G KN].
  revert G KN U; generalize (history es); intros x G KN U.
  destruct (undo_done _ _ _ U) as (e & w & u & N & L & D & B & S & ->); exists e; split; [exact N|].
  destruct (sound_now _ _ _ G N L D B) as (T & _ & A & I).
  destruct (t3_inverse_restores _ _ _ _ _ _ A (kept_entry _ _ _ KN N)) as [[v W] _].
  destruct (wstep_inv _ _ _ _ S) as (V & _ & O); rewrite I in *; rewrite T, W in V; simpl.
  split; [congruence|]; split; [exact O | exact (wstep_coherent _ _ _ _ (proj1 G) S)].
Qed.

(** T3: an undo is blocked by live acts on the same container that came later, and it names them. *)
Theorem t3_blocked_names_later_live_acts : forall n x later,
  undo n x = Blocked later ->
  later <> [] /\
  forall b, In b later -> In b (firstn n (past x)) /\ e_live b = true /\ e_is_undo b = false /\
    exists e, nth_error (past x) n = Some e /\ s_id (e_step b) = s_id (e_step e).
Proof.
  intros n x later; unfold undo; destruct (nth_error _ _) as [e|] eqn:N; [|discriminate].
  destruct (_ && _); [|discriminate].
  destruct (filter _ _) as [|b bs] eqn:F; [destruct (wstep _ _) as [[]|]; discriminate|].
  intros [= <-]; split; [discriminate|]; rewrite <- F; intros d I; apply filter_In in I.
  destruct I as [I W]; unfold in_the_way in W; apply andb_true_iff in W; destruct W as [W Q].
  apply andb_true_iff in W; destruct W as [W1 W2]; apply Nat.eqb_eq in Q.
  apply negb_true_iff in W2; eauto 8.
Qed.

(** T3: no undo goes past a later live act on its container. *)
Theorem t3_later_acts_block : forall n x e b,
  nth_error (past x) n = Some e -> In b (firstn n (past x)) ->
  e_live b = true -> e_is_undo b = false -> s_id (e_step b) = s_id (e_step e) ->
  forall y, undo n x <> Done y.
Proof.
  intros n x e b N I L U E y H; destruct (undo_done _ _ _ H) as (e' & w & u & N' & _ & _ & F & _).
  rewrite N in N'; injection N' as <-.
  assert (X : In b (filter (in_the_way (s_id (e_step e))) (firstn n (past x)))).
  { apply filter_In; split; [exact I|]; unfold in_the_way; rewrite L, U, E, Nat.eqb_refl; reflexivity. }
  rewrite F in X; destruct X.
Qed.

(** T3: an undo of a live act that nothing blocks is refused for one reason only: a name, address or port
    that it would take again is held by another container. *)
Theorem t3_refused_only_for_a_held_key : forall es n e,
  kept es fresh -> nth_error (past (history es)) n = Some e -> e_live e = true -> e_is_undo e = false ->
  undo n (history es) = Refused ->
  exists k j, In k (holds (e_before e)) /\ holder (now (history es)) k = Some j /\ j <> s_id (e_step e).
Proof.
  intros es n e K N L D U; destruct (history_good es K) as [G KN].
  revert G KN N U; generalize (history es); intros x G KN N U.
  unfold undo in U; rewrite N, L, D in U; simpl in U.
  destruct (filter _ _) eqn:B; [|discriminate].
  destruct (sound_now _ _ _ G N L D B) as (T & _ & A & I).
  destruct (t3_inverse_restores _ _ _ _ _ _ A (kept_entry _ _ _ KN N)) as [[[v va] W] _].
  destruct (wstep _ _) as [[w u]|] eqn:S; [discriminate|].
  unfold wstep in S; rewrite I, T, W in S.
  destruct (forallb _ _) eqn:F; [discriminate|].
  assert (Q : exists k, In k (holds (e_before e)) /\ free_for (now x) (s_id (e_step e)) k = false).
  { revert F; generalize (holds (e_before e)); induction l as [|k l IH]; simpl; [discriminate|].
    destruct (free_for _ _ k) eqn:E; simpl; [|eauto].
    intros F; destruct (IH F) as (k' & P & Q); eauto. }
  destruct Q as (k & P & Q); unfold free_for in Q.
  destruct (holder (now x) k) as [j|] eqn:J; [|discriminate].
  apply Nat.eqb_neq in Q; eauto.
Qed.

(** *** Instances *)

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

Lemma faithful_without_restore ss : Forall (fun s => s_op s <> restore) ss -> forall w, all_faithful ss w.
Proof.
  induction 1 as [|s ss N _ IH]; intros w; [exact I|].
  split; [intros R; contradiction | auto].
Qed.

Example story_faithful : all_faithful story empty.
Proof. apply faithful_without_restore; repeat constructor; discriminate. Qed.

(** Rolled back whole, nothing is left. *)
Example story_rolled_back : match run story empty with
  | Some (w, us) => match run us w with
      | Some (w', _) => at_ w' 1 = None /\ at_ w' 2 = None /\ holder w' (Name 1) = None
      | None => False end
  | None => False end.
Proof. vm_compute; repeat split. Qed.

Definition events : list event := map Act story.

Lemma kept_without_restore ss : Forall (fun s => s_op s <> restore) ss -> forall x, kept (map Act ss) x.
Proof.
  induction 1 as [|s ss N _ IH]; intros x; [exact I|].
  split; [intros R; contradiction | apply IH].
Qed.

Example events_kept : kept events fresh.
Proof. apply kept_without_restore; repeat constructor; discriminate. Qed.

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

(** Why T3 asks that a restore keeps the name: under another name, undo leaves that name in the trash. *)
Example restored_under_another_name :
  let c := put web removed in
  match advance restore (Some c) (Args None (Some stopped) None (Some 2)) with
  | Some (after, (u, ua)) => match advance u after ua with
      | Some (back, _) => back = Some (with_name c 2) /\ back <> Some c
      | None => False end
  | None => False end.
Proof. vm_compute; split; [reflexivity | discriminate]. Qed.

(** ** No process without a verdict *)

(** [verdict.Verdict], as far as it binds: about which image, and under which trust epoch. *)
Record verdict := Verdict { v_image : nat; v_epoch : nat }.

(** What happens, in order. *)
Inductive fact :=
  | Judged (v : verdict)           (* the gatekeeper accepted an image: the one place a verdict is made *)
  | Revoked                        (* [trust/epoch] rises: a key revoked, the store or the policy changed *)
  | Intended (id image : nat)      (* the durable intent of a step that makes a process *)
  | Made (id image : nat).         (* its effect: the process, or what it will be made of *)

(** [open_] are the intents whose effect may come. [trace] is newest first. *)
Record gate := Gate {
  g_world : world;
  epoch : nat;
  verdicts : list verdict;
  open_ : list (nat * nat);
  trace : list fact
}.

Definition shut : gate := Gate empty 0 [] [] [].

Inductive deed :=
  | Judge (image : nat)
  | Revoke
  | Intend (s : step) (v : option verdict)
  | Effect (id image : nat).

Definition verdict_eqb (a b : verdict) : bool :=
  Nat.eqb (v_image a) (v_image b) && Nat.eqb (v_epoch a) (v_epoch b).

Definition pair_eqb (a b : nat * nat) : bool := Nat.eqb (fst a) (fst b) && Nat.eqb (snd a) (snd b).

(** [container._check_verdict] and the condition on [trust/epoch] of the intent's append: the verdict was made
    by the gatekeeper, is about this image, and the epoch is still its own. *)
Definition vouches (v : option verdict) (c : option container) (g : gate) : bool :=
  match v, c with
  | Some v, Some c =>
      Nat.eqb (v_image v) (c_image c) && Nat.eqb (v_epoch v) (epoch g) && existsb (verdict_eqb v) (verdicts g)
  | _, _ => false
  end.

(** One deed; [None] is a refused append. An effect comes only after its intent ([container._begin_performing]
    lets it run when the append is durable). *)
Definition gstep (d : deed) (g : gate) : option gate :=
  match d with
  | Judge image =>
      let v := Verdict image (epoch g) in
      Some (Gate (g_world g) (epoch g) (v :: verdicts g) (open_ g) (Judged v :: trace g))
  | Revoke => Some (Gate (g_world g) (S (epoch g)) (verdicts g) (open_ g) (Revoked :: trace g))
  | Intend s v =>
      match wstep s (g_world g) with
      | None => None
      | Some (w, _) =>
          if makes_process (s_op s) (a_to (s_args s)) then
            if vouches v (at_ w (s_id s)) g then
              let image := match at_ w (s_id s) with Some c => c_image c | None => 0 end in
              Some (Gate w (epoch g) (verdicts g) ((s_id s, image) :: open_ g)
                         (Intended (s_id s) image :: trace g))
            else None
          else Some (Gate w (epoch g) (verdicts g) (open_ g) (trace g))
      end
  | Effect id image =>
      if existsb (pair_eqb (id, image)) (open_ g)
      then Some (Gate (g_world g) (epoch g) (verdicts g) (open_ g) (Made id image :: trace g))
      else None
  end.

Fixpoint deeds (ds : list deed) (g : gate) : option gate :=
  match ds with
  | [] => Some g
  | d :: rest => bind (gstep d g) (deeds rest)
  end.

(** In [t] (newest first): an intent on this image, before it a verdict about it, and no revocation between
    the two. *)
Definition vouched (id image : nat) (t : list fact) : Prop :=
  exists v newer between older,
    t = newer ++ Intended id image :: between ++ Judged v :: older /\
    v_image v = image /\ ~ In Revoked between.

Definition is_revoked (f : fact) : bool := match f with Revoked => true | _ => false end.
Definition revocations (t : list fact) : nat := List.length (filter is_revoked t).

Lemma revocations_app a b : revocations (a ++ b) = revocations a + revocations b.
Proof. unfold revocations; rewrite filter_app, app_length; reflexivity. Qed.

Lemma no_revocation t : revocations t = 0 -> ~ In Revoked t.
Proof.
  unfold revocations; intros H I.
  assert (X : In Revoked (filter is_revoked t)) by (apply filter_In; split; [exact I | reflexivity]).
  destruct (filter is_revoked t); [destruct X | discriminate].
Qed.

Lemma vouched_later id image f t : vouched id image t -> vouched id image (f :: t).
Proof. intros (v & n & b & o & -> & H); exists v, (f :: n), b, o; auto. Qed.

(** What holds at every moment. *)
Definition guarded (g : gate) : Prop :=
  revocations (trace g) = epoch g /\
  (forall v, In v (verdicts g) -> exists newer older,
      trace g = newer ++ Judged v :: older /\ revocations older = v_epoch v) /\
  (forall id image, In (id, image) (open_ g) -> vouched id image (trace g)) /\
  (forall after before id image, trace g = after ++ Made id image :: before -> vouched id image before).

Lemma made_below f t : (forall id image, f <> Made id image) ->
  (forall after before id image, t = after ++ Made id image :: before -> vouched id image before) ->
  forall after before id image, f :: t = after ++ Made id image :: before -> vouched id image before.
Proof.
  intros N H [|x after] before id image E; simpl in E; injection E as E1 E2; [destruct (N _ _ E1)|eauto].
Qed.

Lemma judged_below f (t : list fact) v :
  (exists newer older, t = newer ++ Judged v :: older /\ revocations older = v_epoch v) ->
  exists newer older, f :: t = newer ++ Judged v :: older /\ revocations older = v_epoch v.
Proof. intros (n & o & -> & H); exists (f :: n), o; auto. Qed.

Lemma gstep_guarded d g g' : guarded g -> gstep d g = Some g' -> guarded g'.
Proof.
  intros (C & V & O & M) H; destruct d as [image| |s v|id image]; simpl in H.
  - injection H as <-; split; [exact C|]; split; [|split]; simpl.
    + intros v [<-|I]; [exists [], (trace g); auto | auto using judged_below].
    + auto using vouched_later.
    + apply made_below; [discriminate | exact M].
  - injection H as <-; split; [simpl; rewrite <- C; reflexivity|]; split; [|split]; simpl.
    + auto using judged_below.
    + auto using vouched_later.
    + apply made_below; [discriminate | exact M].
  - destruct (wstep _ _) as [[w u]|]; [|discriminate].
    destruct (makes_process _ _); [|injection H as <-; repeat split; assumption].
    destruct (vouches _ _ _) eqn:Y; [|discriminate]; injection H as <-.
    unfold vouches in Y; destruct v as [v|], (at_ w (s_id s)) as [c|]; try discriminate.
    apply andb_true_iff in Y; destruct Y as [Y I]; apply andb_true_iff in Y; destruct Y as [Y E].
    apply Nat.eqb_eq in Y; apply Nat.eqb_eq in E; apply existsb_exists in I; destruct I as (v' & I & Q).
    unfold verdict_eqb in Q; apply andb_true_iff in Q; destruct Q as [Q1 Q2].
    apply Nat.eqb_eq in Q1; apply Nat.eqb_eq in Q2.
    destruct (V _ I) as (n & o & T & R).
    split; [exact C|]; split; [|split]; simpl.
    + auto using judged_below.
    + intros i m [J|J]; [injection J as <- <- | auto using vouched_later].
      exists v', [], n, o; rewrite T; repeat split; [congruence|].
      apply no_revocation; rewrite T, revocations_app in C.
      change (revocations (Judged v' :: o)) with (revocations o) in C; lia.
    + apply made_below; [discriminate | exact M].
  - destruct (existsb _ _) eqn:X; [|discriminate]; injection H as <-.
    apply existsb_exists in X; destruct X as ([i m] & I & E); unfold pair_eqb in E; simpl in E.
    apply andb_true_iff in E; destruct E as [E1 E2]; apply Nat.eqb_eq in E1; apply Nat.eqb_eq in E2; subst.
    split; [exact C|]; split; [|split]; simpl.
    + auto using judged_below.
    + auto using vouched_later.
    + intros [|x after] before id' image' E; simpl in E.
      * injection E as <- <- <-; auto.
      * injection E as _ E; eauto.
Qed.

Lemma deeds_guarded ds : forall g g', guarded g -> deeds ds g = Some g' -> guarded g'.
Proof.
  induction ds as [|d ds IH]; simpl; intros g g' G H; [injection H as <-; exact G|].
  destruct (gstep d g) as [g1|] eqn:S; [|discriminate]; exact (IH _ _ (gstep_guarded _ _ _ G S) H).
Qed.

Lemma guarded_shut : guarded shut.
Proof.
  split; [reflexivity|]; split; [contradiction|]; split; [contradiction|].
  intros [|x after] before id image; discriminate.
Qed.

(** T2: on every trace, a process made implies a verdict about its image that came before the intent, with no
    revocation between that verdict and the intent. *)
Theorem t2_no_process_without_a_verdict : forall ds g after before id image,
  deeds ds shut = Some g -> trace g = after ++ Made id image :: before -> vouched id image before.
Proof. intros ds g after before id image H; apply (deeds_guarded _ _ _ guarded_shut H). Qed.

Definition create_web : step := Step create 1 (Args (Some web) None None None).
Definition start_web : step := Step start 1 (Args None None (Some 1) None).

(** T2's hypothesis is inhabited: a judged image gets its container and its process. *)
Example t2_a_process_is_made :
  option_map trace (deeds [Judge 7; Intend create_web (Some (Verdict 7 0)); Effect 1 7;
                           Revoke; Judge 7; Intend start_web (Some (Verdict 7 1)); Effect 1 7] shut)
  = Some [Made 1 7; Intended 1 7; Judged (Verdict 7 1); Revoked; Made 1 7; Intended 1 7; Judged (Verdict 7 0)].
Proof. vm_compute; reflexivity. Qed.

(** A revocation between verdict and start refuses the start; so does a verdict about another image, a forged
    one, or none. *)
Example t2_revoked_in_between :
  deeds [Judge 7; Intend create_web (Some (Verdict 7 0)); Revoke; Intend start_web (Some (Verdict 7 0))] shut
  = None
  /\ deeds [Judge 8; Intend create_web (Some (Verdict 8 0))] shut = None
  /\ deeds [Intend create_web (Some (Verdict 7 0))] shut = None
  /\ deeds [Judge 7; Intend create_web None] shut = None.
Proof. vm_compute; repeat split. Qed.
