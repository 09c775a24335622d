(** * Thresholds

    Models steps 5 and 7 of [vordr/gatekeeper/steps.py] ([verify_signatures], [_usable_key],
    [meet_thresholds], [groups_for], [_origin]) over the trust store of [vordr/gatekeeper/trust.py].

    T5  accepted exactly when k distinct keys among the members have validly signed; more valid signatures
        never hurt; a key counts once however often and under whatever encoding; a key less, or one revoked,
        never accepts more. *)

From Coq Require Import List Bool Arith Lia.
Import ListNotations.

(** [trust.TrustedKey]. [k_raw] is the public key itself, [k_id] what a signature calls it by. *)
Record key := Key {
  k_id : nat;
  k_raw : nat;
  k_builder : bool;                (* has the role builders *)
  k_signer : bool;                 (* has the role builders or adopters *)
  k_from : nat;
  k_until : option nat
}.

(** [trust.Group]; [g_own] says that its name is adopters. *)
Record group := Group { g_own : bool; g_k : nat; g_members : list nat }.

(** [trust.TrustStore] *)
Record store := Store { keys : list key; groups : list group; revoked : list nat }.

(** [dsse.Signature] of one attestation: the key id it names, and its bytes. *)
Record signature := Signature { s_id : nat; s_bytes : nat }.

Definition has (n : nat) (l : list nat) : bool := existsb (Nat.eqb n) l.

Lemma has_in n l : has n l = true <-> In n l.
Proof.
  unfold has; rewrite existsb_exists; split.
  - intros (x & I & E); apply Nat.eqb_eq in E; subst; exact I.
  - intros I; exists n; split; [exact I | apply Nat.eqb_refl].
Qed.

Definition bind {A B} (x : option A) (f : A -> option B) : option B :=
  match x with Some a => f a | None => None end.

Section Verification.

(** Whether these bytes are a signature by this public key over the attestation. *)
Variable valid : nat -> nat -> bool.
(** The captured time. *)
Variable now : nat.

Definition find_key (st : store) (id : nat) : option key := find (fun k => Nat.eqb (k_id k) id) (keys st).

(** [steps._usable_key]: known, not revoked, of a signing role, and valid now. *)
Definition usable (st : store) (id : nat) : option key :=
  bind (find_key st id) (fun k =>
    if negb (has (k_id k) (revoked st)) && k_signer k && (k_from k <=? now)
       && match k_until k with Some u => now <? u | None => true end
    then Some k else None).

(** One signature: the key that made it, or a rejection. *)
Definition signer (st : store) (s : signature) : option key :=
  bind (usable st (s_id s)) (fun k => if valid (k_raw k) (s_bytes s) then Some k else None).

(** [steps.verify_signatures] of one attestation: every signature must hold. *)
Fixpoint signers (st : store) (ss : list signature) : option (list key) :=
  match ss with
  | [] => Some []
  | s :: rest => bind (signer st s) (fun k => bind (signers st rest) (fun ks => Some (k :: ks)))
  end.

(** [present] of [steps.meet_thresholds]: the distinct public keys among the members. *)
Definition present (g : group) (ks : list key) : list nat :=
  nodup Nat.eq_dec (map k_raw (filter (fun k => has (k_id k) (g_members g)) ks)).

Definition met (g : group) (ks : list key) : bool := g_k g <=? length (present g ks).

(** One attestation against one group. *)
Definition accepted (st : store) (g : group) (ss : list signature) : bool :=
  match signers st ss with Some ks => met g ks | None => false end.

(** [steps.groups_for]: [adopted] is the origin. *)
Definition groups_for (adopted : bool) (gs : list group) : list group :=
  if adopted
  then match filter g_own gs with [] => gs | own => own end
  else filter (fun g => negb (g_own g)) gs.

Fixpoint all_signers (st : store) (atts : list (list signature)) : option (list (list key)) :=
  match atts with
  | [] => Some []
  | ss :: rest => bind (signers st ss) (fun ks => bind (all_signers st rest) (fun kss => Some (ks :: kss)))
  end.

(** [steps._origin]: adopted if the provenance says so, or unless a builder signed each attestation. *)
Definition origin (says_adopted : bool) (kss : list (list key)) : bool :=
  says_adopted || negb (forallb (existsb k_builder) kss).

(** Steps 5 and 7 of a whole bundle. *)
Definition decide (st : store) (says_adopted : bool) (atts : list (list signature)) : bool :=
  match all_signers st atts with
  | None => false
  | Some kss => forallb (fun ks => forallb (fun g => met g ks) (groups_for (origin says_adopted kss) (groups st))) kss
  end.

Lemma signers_in st ss : forall ks, signers st ss = Some ks ->
  forall k, In k ks <-> exists s, In s ss /\ signer st s = Some k.
Proof.
  induction ss as [|s ss IH]; simpl; intros ks H k.
  - injection H as <-; split; [contradiction | intros (s & [] & _)].
  - destruct (signer st s) as [k'|] eqn:S; [|discriminate]; simpl in H.
    destruct (signers st ss) as [ks'|] eqn:R; [|discriminate]; injection H as <-.
    specialize (IH _ eq_refl k); simpl; rewrite IH; split.
    + intros [<-|(t & I & E)]; eauto.
    + intros (t & [<-|I] & E); [left; congruence | right; eauto].
Qed.

Lemma signers_all st ss : (exists ks, signers st ss = Some ks) <-> forall s, In s ss -> signer st s <> None.
Proof.
  induction ss as [|s ss IH]; simpl.
  - split; [contradiction | eauto].
  - destruct (signer st s) as [k|] eqn:S; simpl.
    + destruct (signers st ss) as [ks|]; simpl.
      * split; [|eauto]; intros _ t [<-|I]; [congruence | apply IH; eauto].
      * split; [intros (ks & H); discriminate|]; intros H.
        destruct (proj2 IH (fun t I => H t (or_intror I))); discriminate.
    + split; [intros (ks & H); discriminate | intros H; destruct (H s (or_introl eq_refl) S)].
Qed.

(** T5: an attestation is accepted exactly when every signature on it holds, and there are k distinct public
    keys each of which signed it under the id of a member. *)
Theorem t5_accepted_iff_k_distinct_members : forall st g ss,
  accepted st g ss = true <->
  (forall s, In s ss -> signer st s <> None) /\
  exists raws, NoDup raws /\ length raws = g_k g /\
    forall r, In r raws -> exists s k, In s ss /\ signer st s = Some k /\ k_raw k = r /\ In (k_id k) (g_members g).
Proof.
  intros st g ss; unfold accepted, met, present; split.
  - destruct (signers st ss) as [ks|] eqn:S; [|discriminate]; intros H; apply Nat.leb_le in H; split.
    + apply signers_all; eauto.
    + set (l := nodup _ _) in *; exists (firstn (g_k g) l); split; [|split].
      * assert (N : NoDup l) by apply NoDup_nodup.
        rewrite <- (firstn_skipn (g_k g) l) in N; revert N; generalize (skipn (g_k g) l).
        induction (firstn (g_k g) l) as [|x m IH]; intros r N; [constructor|].
        inversion N; subst; constructor; [intros I; apply H2, in_or_app; auto | eapply IH; eassumption].
      * apply firstn_length_le; exact H.
      * intros r I;
        assert (J : In r l) by (rewrite <- (firstn_skipn (g_k g) l); apply in_or_app; left; exact I).
        apply nodup_In, in_map_iff in J; destruct J as (k & E & J); apply filter_In in J.
        destruct J as [J M]; apply (signers_in _ _ _ S) in J; destruct J as (s & I' & E').
        exists s, k; rewrite has_in in M; auto.
  - intros [A (raws & N & L & R)]; destruct (proj2 (signers_all st ss) A) as [ks S]; rewrite S.
    apply Nat.leb_le; rewrite <- L; apply NoDup_incl_length; [exact N|]; intros r I.
    destruct (R r I) as (s & k & I' & E & <- & M); apply nodup_In, in_map, filter_In.
    split; [apply (signers_in _ _ _ S); eauto | apply has_in; exact M].
Qed.

Lemma present_more g k ks : length (present g ks) <= length (present g (k :: ks)).
Proof.
  apply NoDup_incl_length; [apply NoDup_nodup|]; intros r I; unfold present in *.
  apply nodup_In in I; apply nodup_In; simpl; destruct (has _ _); [right|]; exact I.
Qed.

(** T5: one more valid signature never turns an accepted attestation away. *)
Theorem t5_monotone_in_signatures : forall st g ss s,
  accepted st g ss = true -> signer st s <> None -> accepted st g (s :: ss) = true.
Proof.
  intros st g ss s H V; unfold accepted in *; simpl; destruct (signer st s) as [k|]; [|contradiction].
  destruct (signers st ss) as [ks|]; [|discriminate]; simpl; unfold met in *.
  apply Nat.leb_le in H; apply Nat.leb_le; pose proof (present_more g k ks); lia.
Qed.

(** T5: a second signature by the same public key, under the same id or another, adds nothing. *)
Theorem t5_duplicates_never_add : forall g ks k k',
  In k' ks -> k_raw k' = k_raw k -> In (k_id k') (g_members g) ->
  length (present g (k :: ks)) = length (present g ks).
Proof.
  intros g ks k k' I E M; unfold present; simpl; destruct (has (k_id k) (g_members g)); [|reflexivity].
  simpl; destruct (in_dec Nat.eq_dec (k_raw k) _) as [J|J]; [reflexivity|]; destruct J.
  apply in_map_iff; exists k'; split; [exact E|]; apply filter_In; split; [exact I | apply has_in; exact M].
Qed.

(** T5: k cannot be reached with fewer than k public keys, however many signatures, ids or copies there are. *)
Theorem t5_fewer_keys_never_suffice : forall st g ss raws,
  (forall s k, In s ss -> signer st s = Some k -> In (k_raw k) raws) -> length raws < g_k g ->
  accepted st g ss = false.
Proof.
  intros st g ss raws R L; destruct (accepted st g ss) eqn:A; [|reflexivity]; exfalso.
  apply t5_accepted_iff_k_distinct_members in A; destruct A as [_ (l & N & E & M)].
  pose proof (NoDup_incl_length N (l' := raws)) as X.
  rewrite E in X; specialize (X ltac:(intros r I; destruct (M r I) as (s & k & I' & S & <- & _); eauto)); lia.
Qed.

(** A store without a key: neither known nor a member of any group. *)
Definition without (id : nat) (st : store) : store :=
  Store (filter (fun k => negb (Nat.eqb (k_id k) id)) (keys st))
        (map (fun g => Group (g_own g) (g_k g) (filter (fun m => negb (Nat.eqb m id)) (g_members g))) (groups st))
        (revoked st).

Definition revoking (id : nat) (st : store) : store := Store (keys st) (groups st) (id :: revoked st).

Lemma without_find id st x k : find_key (without id st) x = Some k -> find_key st x = Some k /\ k_id k <> id.
Proof.
  unfold find_key, without; simpl; induction (keys st) as [|y l IH]; simpl; [discriminate|].
  destruct (Nat.eqb_spec (k_id y) id) as [E|E]; simpl.
  - intros H; destruct (IH H) as [F N]; split; [|exact N].
    destruct (Nat.eqb_spec (k_id y) x) as [X|X]; [|exact F].
    apply find_some in F; destruct F as [_ F]; apply Nat.eqb_eq in F; congruence.
  - destruct (Nat.eqb (k_id y) x); [intros [= <-]; auto | exact IH].
Qed.

Lemma without_signer id st s k : signer (without id st) s = Some k -> signer st s = Some k /\ k_id k <> id.
Proof.
  unfold signer, usable; destruct (find_key (without id st) (s_id s)) as [y|] eqn:F; [|discriminate].
  destruct (without_find _ _ _ _ F) as [-> N]; simpl.
  destruct (_ && _); simpl; [|discriminate]; destruct (valid _ _); [|discriminate].
  intros [= <-]; auto.
Qed.

Lemma without_signers id st ss : forall ks, signers (without id st) ss = Some ks ->
  signers st ss = Some ks /\ Forall (fun k => k_id k <> id) ks.
Proof.
  induction ss as [|s ss IH]; simpl; intros ks H; [injection H as <-; auto|].
  destruct (signer (without id st) s) as [k|] eqn:S; [|discriminate]; simpl in H.
  destruct (signers (without id st) ss) as [ks'|]; [|discriminate]; injection H as <-.
  destruct (without_signer _ _ _ _ S) as [-> N], (IH _ eq_refl) as [-> F]; simpl; auto.
Qed.

Lemma without_all_signers id st atts : forall kss, all_signers (without id st) atts = Some kss ->
  all_signers st atts = Some kss /\ Forall (Forall (fun k => k_id k <> id)) kss.
Proof.
  induction atts as [|ss atts IH]; simpl; intros kss H; [injection H as <-; auto|].
  destruct (signers (without id st) ss) as [ks|] eqn:S; [|discriminate]; simpl in H.
  destruct (all_signers (without id st) atts) as [kss'|]; [|discriminate]; injection H as <-.
  destruct (without_signers _ _ _ _ S) as [-> N], (IH _ eq_refl) as [-> F]; simpl; auto.
Qed.

Definition shorn (id : nat) (g : group) : group :=
  Group (g_own g) (g_k g) (filter (fun m => negb (Nat.eqb m id)) (g_members g)).

Lemma shorn_met id g ks : Forall (fun k => k_id k <> id) ks -> met (shorn id g) ks = met g ks.
Proof.
  intros F; unfold met, present; simpl.
  replace (filter (fun k => has (k_id k) (filter (fun m => negb (Nat.eqb m id)) (g_members g))) ks)
    with (filter (fun k => has (k_id k) (g_members g)) ks); [reflexivity|].
  induction F as [|k ks N F IH]; [reflexivity|]; simpl; rewrite IH.
  replace (has (k_id k) (filter _ (g_members g))) with (has (k_id k) (g_members g)); [reflexivity|].
  apply eq_true_iff_eq; rewrite !has_in, filter_In, negb_true_iff, Nat.eqb_neq; tauto.
Qed.

Lemma filter_shorn id (f : group -> bool) gs : (forall g, f (shorn id g) = f g) ->
  filter f (map (shorn id) gs) = map (shorn id) (filter f gs).
Proof.
  intros E; induction gs as [|g gs IH]; [reflexivity|]; simpl; rewrite E, IH; destruct (f g); reflexivity.
Qed.

Lemma groups_for_shorn id adopted gs : groups_for adopted (map (shorn id) gs) = map (shorn id) (groups_for adopted gs).
Proof.
  unfold groups_for; rewrite !filter_shorn by reflexivity; destruct adopted; [|reflexivity].
  destruct (filter g_own gs); reflexivity.
Qed.

(** T5: taking a key out of the store, and out of the groups, never accepts a bundle that was refused. *)
Theorem t5_removing_a_key_never_accepts_more : forall id st says_adopted atts,
  decide (without id st) says_adopted atts = true -> decide st says_adopted atts = true.
Proof.
  intros id st a atts; unfold decide; destruct (all_signers (without id st) atts) as [kss|] eqn:S; [|discriminate].
  destruct (without_all_signers _ _ _ _ S) as [-> F]; intros H.
  rewrite forallb_forall in *; rewrite Forall_forall in F; intros ks I; specialize (H ks I).
  change (groups (without id st)) with (map (shorn id) (groups st)) in H; rewrite groups_for_shorn in H.
  rewrite forallb_forall in *; intros g G; rewrite <- (shorn_met id) by (apply F; exact I).
  apply H, in_map, G.
Qed.

Lemma revoking_signer id st s k : signer (revoking id st) s = Some k -> signer st s = Some k.
Proof.
  unfold signer, usable, find_key; simpl; destruct (find _ (keys st)) as [y|]; [|discriminate]; simpl.
  unfold has; simpl; destruct (Nat.eqb (k_id y) id); simpl; [discriminate | trivial].
Qed.

(** T5: nor does revoking one. *)
Theorem t5_revoking_a_key_never_accepts_more : forall id st says_adopted atts,
  decide (revoking id st) says_adopted atts = true -> decide st says_adopted atts = true.
Proof.
  intros id st a atts; unfold decide; simpl.
  assert (G : forall ss ks, signers (revoking id st) ss = Some ks -> signers st ss = Some ks).
  { induction ss as [|s ss IH]; simpl; intros ks H; [exact H|].
    destruct (signer (revoking id st) s) as [k|] eqn:S; [|discriminate].
    rewrite (revoking_signer _ _ _ _ S); simpl in *.
    destruct (signers (revoking id st) ss); [|discriminate]; rewrite (IH _ eq_refl); exact H. }
  assert (A : forall l kss, all_signers (revoking id st) l = Some kss -> all_signers st l = Some kss).
  { induction l as [|ss l IH]; simpl; intros kss H; [exact H|].
    destruct (signers (revoking id st) ss) as [ks|] eqn:S; [|discriminate].
    rewrite (G _ _ S); simpl in *.
    destruct (all_signers (revoking id st) l); [|discriminate]; rewrite (IH _ eq_refl); exact H. }
  destruct (all_signers (revoking id st) atts) as [kss|] eqn:S; [|discriminate].
  rewrite (A _ _ S); trivial.
Qed.

End Verification.

(** *** Instances *)

(** A signature holds when its bytes are the raw key. *)
Definition toy_valid (raw bytes : nat) : bool := Nat.eqb raw bytes.

(** Keys 1 and 2 are distinct; 3 is key 1 under another id. *)
Definition toy_keys : list key :=
  [Key 1 10 true true 0 None; Key 2 20 true true 0 (Some 9); Key 3 10 true true 0 None; Key 4 40 false true 0 None].

Definition two_of_three : group := Group false 2 [1; 2; 3].
Definition toy_store : store := Store toy_keys [two_of_three] [].

Example two_keys_suffice :
  accepted toy_valid 5 toy_store two_of_three [Signature 1 10; Signature 2 20] = true.
Proof. reflexivity. Qed.

(** The same key twice, or under two ids, does not; nor a signature that does not hold, nor an expired key. *)
Example one_key_twice_does_not :
  accepted toy_valid 5 toy_store two_of_three [Signature 1 10; Signature 1 10; Signature 3 10] = false
  /\ accepted toy_valid 5 toy_store two_of_three [Signature 1 10; Signature 2 21] = false
  /\ accepted toy_valid 9 toy_store two_of_three [Signature 1 10; Signature 2 20] = false
  /\ decide toy_valid 5 (revoking 2 toy_store) false [[Signature 1 10; Signature 2 20]] = false
  /\ decide toy_valid 5 (without 2 toy_store) false [[Signature 1 10; Signature 2 20]] = false
  /\ decide toy_valid 5 toy_store false [[Signature 1 10; Signature 2 20]] = true.
Proof. repeat split. Qed.

(** Why monotony is stated for one group: a builder's signature turns an adopted image into a published one,
    of which the builders' own threshold is demanded then. *)
Example published_demands_more :
  let st := Store toy_keys [Group true 1 [4]; two_of_three] [] in
  decide toy_valid 5 st false [[Signature 4 40]] = true
  /\ decide toy_valid 5 st false [[Signature 4 40; Signature 1 10]] = false.
Proof. split; reflexivity. Qed.
