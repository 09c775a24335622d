(** * The hash chain and the tree over the journal

    Models [vordr/journal/chain.py] (the chain), [vordr/formats/merkle.py] (RFC 9162) and what
    [vordr/journal/layout.py] makes a leaf of: the chain hash of a record.

    The hash is any function to strings of one width. That it has no collisions is a hypothesis of each theorem
    that needs it, and only about the strings that the two journals in question hash: of all strings it could
    not hold. So each theorem says: who tampers unseen has, in these very strings, a collision of SHA-256.

    T4 (journal)  against a known head, an edited, dropped, reordered or cut journal is detected; a root fixes
                  all records; inclusion proofs are sound; compaction keeps every proof. *)

From Coq Require Import List Bool Arith Lia Init.Byte.
Import ListNotations.

Definition bytes : Type := list byte.

(** Some strings among which the hash has no collision. *)
Definition collision_free (hash : bytes -> bytes) (inputs : list bytes) : Prop :=
  forall x y, In x inputs -> In y inputs -> hash x = hash y -> x = y.

Lemma collision_free_less hash a b : (forall x, In x a -> In x b) ->
  collision_free hash b -> collision_free hash a.
Proof. intros S F x y X Y; apply F; auto. Qed.

Section Hashing.

(** SHA-256, and its 32 bytes. *)
Variable hash : bytes -> bytes.
Variable width : nat.
Hypothesis hash_width : forall x, length (hash x) = width.

(** What the first record is chained to: [layout.GENESIS]. *)
Variable genesis : bytes.
Hypothesis genesis_width : length genesis = width.

Lemma split_width (a b c d : bytes) : length a = width -> length c = width -> a ++ b = c ++ d -> a = c /\ b = d.
Proof.
  intros A C; revert c A C; generalize width; induction a as [|x a IH]; intros n [|y c] A C E; simpl in *; subst.
  - auto.
  - discriminate.
  - discriminate.
  - injection E as <- E; injection C as C; destruct (IH _ c eq_refl C E) as [-> ->]; auto.
Qed.

(** ** The chain *)

(** Hash of the last of these records (canonical bodies, oldest first) after one with hash [prev]. *)
Fixpoint head (prev : bytes) (bodies : list bytes) : bytes :=
  match bodies with
  | [] => prev
  | b :: rest => head (hash (prev ++ b)) rest
  end.

(** What is hashed on the way. *)
Fixpoint chained (prev : bytes) (bodies : list bytes) : list bytes :=
  match bodies with
  | [] => []
  | b :: rest => (prev ++ b) :: chained (hash (prev ++ b)) rest
  end.

(** [chain.follow] against a signed head: so many records, and this hash of the last. *)
Definition verified (size : nat) (known : bytes) (bodies : list bytes) : Prop :=
  length bodies = size /\ head genesis bodies = known.

Lemma head_fixes j : forall j' p p', length p = width -> length p' = width -> length j = length j' ->
  collision_free hash (chained p j ++ chained p' j') -> head p j = head p' j' -> p = p' /\ j = j'.
Proof.
  induction j as [|b j IH]; intros [|b' j'] p p' P P' L F H; simpl in *; try discriminate; [auto|].
  assert (F' : collision_free hash (chained (hash (p ++ b)) j ++ chained (hash (p' ++ b')) j')).
  { apply collision_free_less with (2 := F); intros x X; right; apply in_app_or in X; apply in_or_app.
    destruct X; [left | right; right]; assumption. }
  destruct (IH j' _ _ (hash_width _) (hash_width _) (eq_add_S _ _ L) F' H) as [E ->].
  apply F in E; [|left; reflexivity | right; apply in_or_app; right; left; reflexivity].
  apply split_width in E; [|exact P | exact P']; destruct E as [-> ->]; auto.
Qed.

(** T4: whatever verifies against the known head of a journal is that journal. *)
Theorem t4_head_fixes_the_journal : forall j j',
  collision_free hash (chained genesis j ++ chained genesis j') ->
  verified (length j) (head genesis j) j' -> j' = j.
Proof.
  intros j j' F [L H]; symmetry; symmetry in L, H.
  apply (head_fixes j j' genesis genesis); assumption.
Qed.

(** T4: an edited, a dropped, a reordered and a cut journal are each refused against the known head. *)
Theorem t4_tampering_is_detected : forall j j',
  collision_free hash (chained genesis j ++ chained genesis j') ->
  (exists a x y b, j = a ++ x :: b /\ j' = a ++ y :: b /\ x <> y) \/            (* edit *)
  (exists a x b, j = a ++ x :: b /\ j' = a ++ b) \/                              (* drop *)
  (exists a x y b, j = a ++ x :: y :: b /\ j' = a ++ y :: x :: b /\ x <> y) \/  (* reorder *)
  (exists n, n < length j /\ j' = firstn n j) ->                                 (* truncation *)
  ~ verified (length j) (head genesis j) j'.
Proof.
  intros j j' F T V; apply t4_head_fixes_the_journal in V; [|exact F]; subst j'.
  destruct T as [(a & x & y & b & -> & E & N) | [(a & x & b & -> & E) | [(a & x & y & b & -> & E & N) | (n & L & E)]]].
  - apply app_inv_head in E; congruence.
  - apply (f_equal (@length _)) in E; rewrite !app_length in E; simpl in E; lia.
  - apply app_inv_head in E; congruence.
  - apply (f_equal (@length _)) in E; rewrite firstn_length in E; lia.
Qed.

(** T4: an older head that is known (kept elsewhere, printed, cosigned) fixes all that lies before it. *)
Theorem t4_older_head_fixes_the_beginning : forall j j',
  collision_free hash (chained genesis j ++ chained genesis (firstn (length j) j')) ->
  length j <= length j' -> head genesis (firstn (length j) j') = head genesis j ->
  firstn (length j) j' = j.
Proof.
  intros j j' F L H; apply t4_head_fixes_the_journal; [exact F|].
  split; [rewrite firstn_length; lia | exact H].
Qed.

(** ** The tree *)

Inductive tree := Leaf (entry : bytes) | Node (l r : tree).

(** [merkle.leaf_hash], [merkle.node_hash] *)
Fixpoint root_of (t : tree) : bytes :=
  match t with
  | Leaf e => hash (x00 :: e)
  | Node l r => hash (x01 :: root_of l ++ root_of r)
  end.

Fixpoint hashed (t : tree) : list bytes :=
  match t with
  | Leaf e => [x00 :: e]
  | Node l r => (x01 :: root_of l ++ root_of r) :: hashed l ++ hashed r
  end.

Fixpoint leaves (t : tree) : list bytes :=
  match t with
  | Leaf e => [e]
  | Node l r => leaves l ++ leaves r
  end.

Lemma root_width t : length (root_of t) = width.
Proof. destruct t; apply hash_width. Qed.

(** T4: a root fixes the whole tree: its shape and every leaf. *)
Theorem t4_root_fixes_the_tree : forall t t',
  collision_free hash (hashed t ++ hashed t') -> root_of t = root_of t' -> t = t'.
Proof.
  induction t as [e|l IHl r IHr]; intros t' F H.
  - destruct t' as [e'|l' r']; simpl in *; apply F in H; try (injection H as <-; reflexivity); try discriminate H;
      try (left; reflexivity); right; left; reflexivity.
  - destruct t' as [e'|l' r']; simpl in *.
    + apply F in H; [discriminate H | left; reflexivity | right; apply in_or_app; right; left; reflexivity].
    + apply F in H; [|left; reflexivity | right; apply in_or_app; right; left; reflexivity].
      injection H as H; apply split_width in H; try apply root_width; destruct H as [L R].
      rewrite (IHl l'), (IHr r'); try assumption; [reflexivity| |];
        apply collision_free_less with (2 := F); intros x X; apply in_app_or in X;
        right; apply in_or_app; destruct X; [left|right; right|left|right; right]; apply in_or_app; auto.
Qed.

(** [Frontier.append]: full subtrees on the right edge, the newest (and smallest) first, with their levels. *)
Fixpoint carry (level : nat) (t : tree) (edge : list (nat * tree)) : list (nat * tree) :=
  match edge with
  | (l, u) :: rest => if Nat.eqb l level then carry (S level) (Node u t) rest else (level, t) :: edge
  | [] => [(level, t)]
  end.

(** [merkle.root], [Frontier.root]: grown leaf by leaf, folded from the smallest. [None] is the empty tree. *)
Definition build (entries : list bytes) : option tree :=
  match fold_left (fun edge e => carry 0 (Leaf e) edge) entries [] with
  | [] => None
  | (_, t) :: rest => Some (fold_left (fun t u => Node (snd u) t) rest t)
  end.

Definition spread (edge : list (nat * tree)) : list bytes := concat (map (fun u => leaves (snd u)) (rev edge)).

Lemma spread_cons l t edge : spread ((l, t) :: edge) = spread edge ++ leaves t.
Proof. unfold spread; simpl; rewrite map_app, concat_app; simpl; rewrite app_nil_r; reflexivity. Qed.

Lemma carry_spread edge : forall level t, spread (carry level t edge) = spread edge ++ leaves t.
Proof.
  induction edge as [|[l u] edge IH]; intros level t; simpl.
  - apply spread_cons.
  - destruct (Nat.eqb l level); [|apply spread_cons].
    rewrite IH, spread_cons; simpl; rewrite app_assoc; reflexivity.
Qed.

Lemma fold_spread rest : forall t, leaves (fold_left (fun t u => Node (snd u) t) rest t) = spread rest ++ leaves t.
Proof.
  induction rest as [|[l u] rest IH]; intros t; simpl; [reflexivity|].
  rewrite IH, spread_cons; simpl; rewrite app_assoc; reflexivity.
Qed.

Lemma build_leaves entries : match build entries with Some t => leaves t | None => [] end = entries.
Proof.
  assert (G : forall es edge, spread (fold_left (fun edge e => carry 0 (Leaf e) edge) es edge) = spread edge ++ es).
  { induction es as [|e es IH]; intros edge; simpl; [rewrite app_nil_r; reflexivity|].
    rewrite IH, carry_spread, <- app_assoc; reflexivity. }
  specialize (G entries []); simpl in G; unfold build.
  destruct (fold_left _ entries []) as [|[l t] rest]; [exact G|].
  rewrite fold_spread, <- spread_cons with (l := l); exact G.
Qed.

Definition root (entries : list bytes) : bytes :=
  match build entries with Some t => root_of t | None => hash [] end.

Definition hashed_for (entries : list bytes) : list bytes :=
  match build entries with Some t => hashed t | None => [[]] end.

Lemma root_hashed t : exists x rest, In (x :: rest) (hashed t) /\ root_of t = hash (x :: rest).
Proof. destruct t; simpl; eauto. Qed.

(** T4: a root fixes all leaves and their order; no size need be known. *)
Theorem t4_root_fixes_the_leaves : forall a b,
  collision_free hash (hashed_for a ++ hashed_for b) -> root a = root b -> a = b.
Proof.
  intros a b F H; rewrite <- (build_leaves a), <- (build_leaves b); unfold root, hashed_for in *.
  destruct (build a) as [t|], (build b) as [u|]; try reflexivity.
  - rewrite (t4_root_fixes_the_tree t u F H); reflexivity.
  - destruct (root_hashed t) as (x & rest & I & E); rewrite E in H.
    apply F in H; [discriminate | |]; apply in_or_app; [left; exact I | right; left; reflexivity].
  - destruct (root_hashed u) as (x & rest & I & E); rewrite E in H.
    apply F in H; [discriminate | |]; apply in_or_app; [left; left; reflexivity | right; exact I].
Qed.

(** The leaf of a record is its chain hash ([chain.follow]). *)
Fixpoint chain_hashes (prev : bytes) (bodies : list bytes) : list bytes :=
  match bodies with
  | [] => []
  | b :: rest => hash (prev ++ b) :: chain_hashes (hash (prev ++ b)) rest
  end.

Lemma chain_hashes_length bodies : forall p, length (chain_hashes p bodies) = length bodies.
Proof. induction bodies as [|b l IH]; intros p; simpl; [reflexivity | rewrite IH; reflexivity]. Qed.

Lemma chain_hashes_last bodies : forall p, last (p :: chain_hashes p bodies) p = head p bodies.
Proof.
  induction bodies as [|b l IH]; intros p; [reflexivity|].
  change (last (hash (p ++ b) :: chain_hashes (hash (p ++ b)) l) p = head (hash (p ++ b)) l).
  rewrite <- IH; generalize (hash (p ++ b)) at 1 3; intros q.
  generalize (chain_hashes (hash (p ++ b)) l); intros m; revert q.
  induction m as [|x m IHm]; intros q; [reflexivity | exact (IHm x)].
Qed.

(** T4: a signed checkpoint, size and root, fixes every byte of every record below it. *)
Theorem t4_root_fixes_the_journal : forall j j',
  collision_free hash (hashed_for (chain_hashes genesis j) ++ hashed_for (chain_hashes genesis j')) ->
  collision_free hash (chained genesis j ++ chained genesis j') ->
  root (chain_hashes genesis j) = root (chain_hashes genesis j') -> j = j'.
Proof.
  intros j j' F G H; apply t4_root_fixes_the_leaves in H; [|exact F].
  apply (head_fixes j j' genesis genesis); try assumption.
  - rewrite <- (chain_hashes_length j genesis), H; apply chain_hashes_length.
  - rewrite <- !chain_hashes_last, H; reflexivity.
Qed.

(** ** Inclusion *)

(** The root that a proof leads to ([verify_inclusion], from the root down): at each node whether the path goes
    right, and the hash of the other side. *)
Fixpoint via (path : list (bool * bytes)) (leaf : bytes) : bytes :=
  match path with
  | [] => leaf
  | (true, sibling) :: rest => hash (x01 :: sibling ++ via rest leaf)
  | (false, sibling) :: rest => hash (x01 :: via rest leaf ++ sibling)
  end.

Fixpoint via_hashed (path : list (bool * bytes)) (leaf : bytes) : list bytes :=
  match path with
  | [] => []
  | (true, sibling) :: rest => (x01 :: sibling ++ via rest leaf) :: via_hashed rest leaf
  | (false, sibling) :: rest => (x01 :: via rest leaf ++ sibling) :: via_hashed rest leaf
  end.

(** What stands in a tree where a path leads. *)
Fixpoint at_path (path : list bool) (t : tree) : option tree :=
  match path, t with
  | [], _ => Some t
  | d :: rest, Node l r => at_path rest (if d then r else l)
  | _ :: _, Leaf _ => None
  end.

Lemma via_width path e : length (via path (hash e)) = width.
Proof. destruct path as [|[[|] s] p]; apply hash_width. Qed.

(** T4: an inclusion proof is sound: what it proves stands in the tree, at the place that it names. *)
Theorem t4_inclusion_is_sound : forall path t e,
  Forall (fun p => length (snd p) = width) path ->
  collision_free hash (hashed t ++ (x00 :: e) :: via_hashed path (hash (x00 :: e))) ->
  via path (hash (x00 :: e)) = root_of t ->
  at_path (map fst path) t = Some (Leaf e).
Proof.
  induction path as [|[d s] path IH]; intros t e W F H.
  - simpl in *; destruct t as [e'|l r]; simpl in *; apply F in H; try discriminate H;
      try (injection H as ->; reflexivity); try (left; reflexivity); right;
      try (apply in_or_app; right); left; reflexivity.
  - pose proof (Forall_inv W) as S; pose proof (Forall_inv_tail W) as W'; simpl in S.
    assert (I : In (if d then x01 :: s ++ via path (hash (x00 :: e)) else x01 :: via path (hash (x00 :: e)) ++ s)
                   (hashed t ++ (x00 :: e) :: via_hashed ((d, s) :: path) (hash (x00 :: e)))).
    { apply in_or_app; right; right; destruct d; left; reflexivity. }
    destruct t as [e'|l r].
    + exfalso; destruct d; simpl in H; apply F in H; try discriminate H; try exact I; left; reflexivity.
    + assert (R : In (x01 :: root_of l ++ root_of r)
                     (hashed (Node l r) ++ (x00 :: e) :: via_hashed ((d, s) :: path) (hash (x00 :: e))))
        by (left; reflexivity).
      destruct d; simpl in H; apply F in H; try assumption; injection H as H; apply split_width in H;
        try assumption; try apply via_width; try apply root_width; destruct H as [HL HR]; simpl;
        (apply IH; [exact W' | | assumption]); apply collision_free_less with (2 := F); intros x X;
        apply in_app_or in X; apply in_or_app; destruct X as [X|[X|X]]; simpl; auto 6 using in_or_app.
Qed.

(** ** Compaction *)

(** A tree of which some records were sealed away: of these the leaf hash is left ([journal/tiles.py]). *)
Inductive pruned := Full (entry : bytes) | Sealed (leaf_hash : bytes) | Both (l r : pruned).

Fixpoint pruned_root (t : pruned) : bytes :=
  match t with
  | Full e => hash (x00 :: e)
  | Sealed h => h
  | Both l r => hash (x01 :: pruned_root l ++ pruned_root r)
  end.

Fixpoint compact (sealed : bytes -> bool) (t : tree) : pruned :=
  match t with
  | Leaf e => if sealed e then Sealed (hash (x00 :: e)) else Full e
  | Node l r => Both (compact sealed l) (compact sealed r)
  end.

(** The inclusion proof of a place: [inclusion_path], from the root down. *)
Fixpoint proof (path : list bool) (t : tree) : option (list (bool * bytes)) :=
  match path, t with
  | [], Leaf _ => Some []
  | true :: rest, Node l r => option_map (cons (true, root_of l)) (proof rest r)
  | false :: rest, Node l r => option_map (cons (false, root_of r)) (proof rest l)
  | _, _ => None
  end.

Fixpoint pruned_proof (path : list bool) (t : pruned) : option (list (bool * bytes)) :=
  match path, t with
  | [], Full _ | [], Sealed _ => Some []
  | true :: rest, Both l r => option_map (cons (true, pruned_root l)) (pruned_proof rest r)
  | false :: rest, Both l r => option_map (cons (false, pruned_root r)) (pruned_proof rest l)
  | _, _ => None
  end.

Lemma compact_root sealed t : pruned_root (compact sealed t) = root_of t.
Proof.
  induction t as [e|l IHl r IHr]; simpl; [destruct (sealed e); reflexivity | rewrite IHl, IHr; reflexivity].
Qed.

(** T4: compaction keeps the root and every inclusion proof, whatever it seals. *)
Theorem t4_compaction_keeps_every_proof : forall sealed t,
  pruned_root (compact sealed t) = root_of t /\
  forall path, pruned_proof path (compact sealed t) = proof path t.
Proof.
  intros sealed t; split; [apply compact_root|].
  induction t as [e|l IHl r IHr]; intros path.
  - simpl; destruct (sealed e), path as [|[|] path]; reflexivity.
  - destruct path as [|[|] path]; simpl; rewrite ?IHl, ?IHr, ?compact_root; reflexivity.
Qed.

(** T4: and the proof of a place leads from its leaf to the root. *)
Theorem t4_proofs_verify : forall path t p,
  proof path t = Some p -> exists e, at_path path t = Some (Leaf e) /\ via p (hash (x00 :: e)) = root_of t.
Proof.
  induction path as [|d path IH]; intros [e|l r] p H; simpl in H; try discriminate.
  - injection H as <-; exists e; auto.
  - destruct d; discriminate.
  - destruct d; destruct (proof path _) as [q|] eqn:E; try discriminate; injection H as <-;
      destruct (IH _ _ E) as (e & A & V); exists e; simpl; rewrite V; auto.
Qed.

End Hashing.

(** *** Instances: with a toy hash (the two last bytes of its input) the hypotheses hold and the theorems bite *)

Definition toy (x : bytes) : bytes := firstn 2 (rev x ++ [x00; x00]).

Lemma toy_width x : length (toy x) = 2.
Proof. unfold toy; apply firstn_length_le; rewrite app_length; simpl; lia. Qed.

Definition three : list bytes := [[x61; x62]; [x63; x64]; [x65; x66]].
Definition forged : list bytes := [[x61; x62]; [x63; x67]; [x65; x66]].

(** The edit of the second record is detected: no collision is among the strings at hand. *)
Example an_edit_shows :
  collision_free toy (chained toy [x00; x00] (firstn 2 three) ++ chained toy [x00; x00] (firstn 2 forged)) /\
  head toy [x00; x00] (firstn 2 three) <> head toy [x00; x00] (firstn 2 forged).
Proof.
  split; [|vm_compute; discriminate].
  intros x y X Y; simpl in X, Y; intuition (subst; vm_compute; try reflexivity; intros; discriminate).
Qed.

(** And the toy collides where it must: it forgets the second record when the third hides it. *)
Example a_collision_hides_it : head toy [x00; x00] three = head toy [x00; x00] forged.
Proof. vm_compute; reflexivity. Qed.

(** Five leaves make the tree of RFC 9162 §2.1.1: four on the left, one on the right. *)
Example five_leaves : build [[x01]; [x02]; [x03]; [x04]; [x05]]
  = Some (Node (Node (Node (Leaf [x01]) (Leaf [x02])) (Node (Leaf [x03]) (Leaf [x04]))) (Leaf [x05])).
Proof. vm_compute; reflexivity. Qed.
