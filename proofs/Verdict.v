(** * No process without a verdict

    Models [vordr/model/verdict.py], [ContainerActor._check_verdict] and [_begin_performing] of
    [vordr/actors/container.py], and the trust epoch that [vordr/actors/gatekeeper.py] raises.

    T2  no process without a verdict on its image that came before it and was not revoked in between. *)

From Coq Require Import List Bool Arith Lia.
From Vordr Require Import Lifecycle Undo Story.
Import ListNotations.
Local Open Scope list_scope.

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
