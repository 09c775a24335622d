(** * What undo promises

    Models the projection's keys ([vordr/model/records.py]), the compare-and-append on them
    ([vordr/actors/transaction.py]) and the undo planning of [vordr/model/plan.py], over [Lifecycle.v].

    T3  undo gives the declared state back; a rollback of n acts is the identity; undo of undo is redo; an
        undo that would clash with a later live act is refused. *)

From Coq Require Import List Bool Arith Lia Setoid.
From Vordr Require Import Lifecycle.
Import ListNotations.
Local Open Scope list_scope.

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

(** T3: for every legal step, its inverse is legal right after it and gives the declared state back: every
    container's state and generation stack, every name, address and port. *)
Theorem t3_undo_of_a_step : forall s w w' u,
  coherent w -> wstep s w = Some (w', u) ->
  exists w'' r, wstep u w' = Some (w'', r) /\ same w'' w.
Proof.
  intros s w w' u C H; unfold wstep in H.
  destruct (advance _ _ _) as [[after [o ua]]|] eqn:A; [|discriminate].
  destruct (forallb _ _) eqn:F; [|discriminate]; injection H as <- <-.
  destruct (t3_inverse_restores _ _ _ _ _ _ A) as [[v va] R].
  rewrite forallb_forall in F.
  unfold wstep; simpl; rewrite upd_same, R.
  replace (forallb _ (holds (at_ w (s_id s)))) with true.
  2:{ symmetry; apply forallb_forall; intros k Hk; unfold free_for; simpl.
      destruct (member k (holds after)); [apply Nat.eqb_refl|].
      apply member_in in Hk; rewrite Hk; reflexivity. }
  do 2 eexists; split; [reflexivity|]; split; simpl.
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
  coherent w -> wstep s w = Some (w', u) ->
  exists w'' r w''' u', wstep u w' = Some (w'', r) /\ wstep r w'' = Some (w''', u') /\ same w''' w'.
Proof.
  intros s w w' u C H.
  destruct (t3_undo_of_a_step _ _ _ _ C H) as (w'' & r & U & _).
  destruct (t3_undo_of_a_step _ _ _ _ (wstep_coherent _ _ _ _ C H) U) as (w''' & u' & R & S).
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
  coherent w -> run ss w = Some (w', us) ->
  exists w'' rs, run us w' = Some (w'', rs) /\ same w'' w.
Proof.
  induction ss as [|s ss IH]; simpl; intros w w' us C H.
  - injection H as <- <-; exists w, []; split; [reflexivity | apply same_refl].
  - destruct (wstep s w) as [[w1 u]|] eqn:S; [|discriminate].
    destruct (run ss w1) as [[w2 us2]|] eqn:R; [|discriminate]; injection H as <- <-.
    destruct (IH _ _ _ (wstep_coherent _ _ _ _ C S) R) as (w3 & rs & U & E).
    destruct (t3_undo_of_a_step _ _ _ _ C S) as (w4 & r & V & E4).
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
  coherent w -> run ss w = Some (w', us) ->
  exists w1 us1 w2 rs,
    run (firstn n ss) w = Some (w1, us1) /\
    run (firstn (List.length ss - n) us) w' = Some (w2, rs) /\ same w2 w1.
Proof.
  intros ss n w w' us C H.
  destruct (run_split ss n _ _ _ H) as (w1 & us1 & us2 & A & B & ->).
  destruct (t3_rollback_is_identity _ _ _ _ (run_coherent _ _ _ _ C A) B) as (w2 & rs & U & E).
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

Lemma sound_undo n x y : sound x -> undo n x = Done y -> sound y.
Proof.
  intros G H; destruct (undo_done _ _ _ H) as (e & w & u & N & L & U & F & S & ->).
  destruct (sound_now _ _ _ G N L U F) as (T & B & A & I).
  destruct G as (C & G & R), (wstep_inv _ _ _ _ S) as (V & J & O).
  pose proof (past_split _ _ _ N) as P; rewrite P in R.
  assert (Q : forall i, chained i (at_ (now x) i) (firstn n (past x) ++ e :: skipn (Datatypes.S n) (past x)))
    by (rewrite <- P; exact G).
  revert B F Q R; generalize (skipn (Datatypes.S n) (past x)) (firstn n (past x)).
  intros older newer B F Q R; rewrite I in *; rewrite T in V.
  destruct (t3_inverse_restores _ _ _ _ _ _ A) as [v W].
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

Lemma happen_sound e x : sound x -> sound (happen e x).
Proof.
  intros G; unfold happen; destruct e as [s|n].
  - destruct (perform s x) as [y|l|] eqn:P; auto; exact (sound_perform _ _ _ G P).
  - destruct (undo n x) as [y|l|] eqn:U; auto; exact (sound_undo _ _ _ G U).
Qed.

Lemma history_sound es : sound (history es).
Proof.
  unfold history; assert (G : sound fresh).
  { split; [exact coherent_empty|]; split; [reflexivity | constructor]. }
  revert G; generalize fresh; induction es as [|e es IH]; simpl; intros x G; auto.
  apply IH, happen_sound, G.
Qed.

(** T3: after any history of acts and undos, an undo that is not refused gives its container the declared
    state of before the act, touches no other, and leaves names, addresses and ports with who stands. *)
Theorem t3_undo_in_any_history : forall es n y,
  undo n (history es) = Done y ->
  exists e, nth_error (past (history es)) n = Some e /\
    at_ (now y) (s_id (e_step e)) = e_before e /\
    (forall j, j <> s_id (e_step e) -> at_ (now y) j = at_ (now (history es)) j) /\
    coherent (now y).
Proof.
  intros es n y U; pose proof (history_sound es) as G.
  revert G U; generalize (history es); intros x G U.
  destruct (undo_done _ _ _ U) as (e & w & u & N & L & D & B & S & ->); exists e; split; [exact N|].
  destruct (sound_now _ _ _ G N L D B) as (T & _ & A & I).
  destruct (t3_inverse_restores _ _ _ _ _ _ A) as [v W].
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
  nth_error (past (history es)) n = Some e -> e_live e = true -> e_is_undo e = false ->
  undo n (history es) = Refused ->
  exists k j, In k (holds (e_before e)) /\ holder (now (history es)) k = Some j /\ j <> s_id (e_step e).
Proof.
  intros es n e N L D U; pose proof (history_sound es) as G.
  revert G N U; generalize (history es); intros x G N U.
  unfold undo in U; rewrite N, L, D in U; simpl in U.
  destruct (filter _ _) eqn:B; [|discriminate].
  destruct (sound_now _ _ _ G N L D B) as (T & _ & A & I).
  destruct (t3_inverse_restores _ _ _ _ _ _ A) as [[v va] W].
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
