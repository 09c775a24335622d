(** * Transactions, crashes, recovery

    Models one transaction of [vordr/actors/transaction.py] (run, compensate), [vordr/actors/recovery.py] and
    [vordr/actors/settle.py] over the journal's records ([vordr/model/records.py], [projection.py]).

    T4  after recovery a transaction is wholly done, or wholly compensated but for the subjects that its abort
        names; recovery ends; run again it changes nothing; a committed act survives every crash. *)

From Coq Require Import List Bool Arith Lia.
Import ListNotations.

(** ** The plan, the journal, the world *)

Section Transaction.

(** How many steps the plan has; step [k] is number [k] of it, from 0. *)
Variable size : nat.
(** The subject of each step. *)
Variable subject : nat -> nat.
(** Whether this is an undo or a redo: recovery drives those forward, and takes all others back. *)
Variable is_undo : bool.

(** [records.Kind], as far as a transaction has them; [back]: the record compensates the step. *)
Inductive rec :=
  | Begin
  | Intent (k : nat) (back : bool)
  | Done (k : nat) (back : bool)
  | Failed (k : nat) (back : bool)
  | Commit
  | Abort (left : list nat).       (* [left]: the steps that could not be taken back *)

Inductive ending := Committed | Aborted (left : list nat).

(** [records.Act], the projection of the records so far. *)
Record act := Act {
  standing : list nat;             (* steps done and not taken back, newest first: [recovery._standing] *)
  count : nat;                     (* forward steps done: [len(act.steps)] while none is taken back *)
  turned : bool;                   (* some step was taken back *)
  intent : option (nat * bool);    (* the intent without outcome *)
  ended : option ending
}.

Definition drop (k : nat) (l : list nat) : list nat := filter (fun j => negb (Nat.eqb j k)) l.

(** [projection.project] *)
Definition project (r : rec) (a : act) : act :=
  match r with
  | Begin => a
  | Intent k b => Act (standing a) (count a) (turned a) (Some (k, b)) (ended a)
  | Done k false => Act (k :: standing a) (S (count a)) (turned a) None (ended a)
  | Done k true => Act (drop k (standing a)) (count a) true None (ended a)
  | Failed k _ => Act (standing a) (count a) (turned a) None (ended a)
  | Commit => Act (standing a) (count a) (turned a) None (Some Committed)
  | Abort l => Act (standing a) (count a) (turned a) None (Some (Aborted l))
  end.

(** The host: whose effects stand, and an effect that a crash tore in the middle. *)
Record host := Host { stands : list nat; torn : option (nat * bool) }.

(** The effect of step [k], or its inverse. *)
Definition effect (k : nat) (back : bool) (l : list nat) : list nat :=
  if back then drop k l else k :: l.

(** [settle.settle]: whether the effect had happened, by looking at the host. *)
Definition happened (k : nat) (back : bool) (l : list nat) : bool :=
  xorb back (existsb (Nat.eqb k) l).

(** What the coordinator knows and a crash forgets. *)
Record memory := Memory {
  going_back : bool;
  left_ : list nat;                (* steps whose inverse failed: their subjects are blocked *)
  settling : bool;                 (* recovery found an intent without outcome *)
  result : option bool;            (* the effect is over, its outcome not journalled yet *)
  recovering : bool
}.

(** [m_mind] is None when the engine is down. [m_log] is newest first. *)
Record machine := Machine { m_act : act; m_host : host; m_mind : option memory; m_log : list rec }.

Definition append (r : rec) (m : machine) (v : memory) : machine :=
  Machine (project r (m_act m)) (m_host m) (Some v) (r :: m_log m).

Definition think (m : machine) (v : memory) : machine := Machine (m_act m) (m_host m) (Some v) (m_log m).

Definition blocked (left : list nat) (k : nat) : bool :=
  existsb (fun j => Nat.eqb (subject j) (subject k)) left.

(** [transaction.compensate]: the newest standing step whose subject is not blocked. *)
Definition next_back (left l : list nat) : option nat := find (fun k => negb (blocked left k)) l.

(** [recovery._recover]: what the engine knows when it comes up again. *)
Definition wake (a : act) : memory :=
  Memory (turned a || match intent a with Some (_, true) => true | _ => false end) []
         (match intent a with Some _ => true | None => false end) None true.

(** What chance does: let it go well, refuse the effect, cut the power, cut it in the middle of an effect. *)
Inductive chance := Go | No | Cut | Tear.

Definition is_go (c : chance) : bool := match c with Go => true | _ => false end.

(** One step with an open intent: settle or perform, then journal the outcome. *)
Definition go_on (ok : bool) (m : machine) (v : memory) (k : nat) (back : bool) : machine :=
  match result v with
  | None =>
      let r := if settling v then
                 match torn (m_host m) with
                 | Some _ => ok
                 | None => happened k back (stands (m_host m))
                 end
               else ok in
      let there := settling v && match torn (m_host m) with Some _ => false | None => true end in
      Machine (m_act m)
              (Host (if r && negb there then effect k back (stands (m_host m)) else stands (m_host m)) None)
              (Some (Memory (going_back v) (left_ v) (settling v) (Some r) (recovering v)))
              (m_log m)
  | Some r =>
      append (if r then Done k back else Failed k back) m
        (Memory (going_back v || negb r && negb back && negb (settling v))
                (if negb r && back && negb (settling v) then k :: left_ v else left_ v)
                false None (recovering v))
  end.

Definition turn (m : machine) (v : memory) : machine :=
  think m (Memory true (left_ v) (settling v) (result v) (recovering v)).

(** One step between intents: the next intent, or the end. *)
Definition go_further (ok : bool) (m : machine) (v : memory) : machine :=
  if going_back v then
    match next_back (left_ v) (standing (m_act m)) with
    | Some k => append (Intent k true) m v
    | None => append (Abort (left_ v)) m v
    end
  else if Nat.eqb (count (m_act m)) size then
    (if ok || recovering v then append Commit m v else turn m v)
  else if recovering v && negb is_undo then turn m v
  else append (Intent (count (m_act m)) false) m v.

(** One durable append, or one effect, or a crash in its place. *)
Definition tick (c : chance) (m : machine) : machine :=
  match ended (m_act m), m_mind m with
  | Some _, _ => m
  | None, None => match c with Go | No => think m (wake (m_act m)) | _ => m end
  | None, Some v =>
      match c, intent (m_act m) with
      | Cut, _ => Machine (m_act m) (m_host m) None (m_log m)
      | Tear, Some (k, back) =>
          let during := match result v with None => negb (settling v) | Some _ => false end in
          Machine (m_act m)
                  (Host (stands (m_host m)) (if during then Some (k, back) else torn (m_host m)))
                  None (m_log m)
      | Tear, None => Machine (m_act m) (m_host m) None (m_log m)
      | _, Some (k, back) => go_on (is_go c) m v k back
      | _, None => go_further (is_go c) m v
      end
  end.

Definition run (cs : list chance) (m : machine) : machine := fold_left (fun m c => tick c m) cs m.

(** Begun, nothing done. *)
Definition begun : machine :=
  Machine (Act [] 0 false None None) (Host [] None) (Some (Memory false [] false None false)) [Begin].

(** ** What holds at every moment *)

Fixpoint down (n : nat) : list nat := match n with 0 => [] | S m => m :: down m end.

Lemma down_in n k : In k (down n) <-> k < n.
Proof. induction n as [|n IH]; simpl; [lia | rewrite IH; lia]. Qed.

Lemma down_length n : length (down n) = n.
Proof. induction n; simpl; congruence. Qed.

Lemma drop_in k j l : In j (drop k l) <-> In j l /\ j <> k.
Proof. unfold drop; rewrite filter_In, negb_true_iff, Nat.eqb_neq; tauto. Qed.

Lemma drop_shorter k l : length (drop k l) <= length l.
Proof. unfold drop; induction l as [|x l IH]; simpl; [lia | destruct (Nat.eqb x k); simpl; lia]. Qed.

Lemma existsb_in k l : existsb (Nat.eqb k) l = true <-> In k l.
Proof.
  rewrite existsb_exists; split.
  - intros (x & I & E); apply Nat.eqb_eq in E; subst; exact I.
  - intros I; exists k; split; [exact I | apply Nat.eqb_refl].
Qed.

(** The host is what the journal says, but for the step of the open intent. *)
Definition agrees (a : act) (h : host) : Prop :=
  match intent a with
  | None => torn h = None /\ stands h = standing a
  | Some (k, back) =>
      (if back then In k (standing a) else k = count a /\ k < size /\ turned a = false) /\
      (torn h = None /\ (stands h = standing a \/ stands h = effect k back (standing a)) \/
       torn h = Some (k, back) /\ stands h = standing a)
  end.

(** What the coordinator knows is true. *)
Definition minds (a : act) (h : host) (v : memory) : Prop :=
  (turned a = true -> going_back v = true) /\
  (forall j, In j (left_ v) -> In j (standing a)) /\
  match intent a with
  | None => result v = None /\ settling v = false
  | Some (k, back) =>
      going_back v = back /\ (back = true -> blocked (left_ v) k = false) /\
      match result v with
      | None => settling v = false -> torn h = None /\ stands h = standing a
      | Some r => torn h = None /\ stands h = if r then effect k back (standing a) else standing a
      end
  end.

Definition over (a : act) : Prop :=
  match ended a with
  | None => True
  | Some Committed => intent a = None /\ standing a = down size
  | Some (Aborted l) => intent a = None /\ forall k, In k (standing a) -> blocked l k = true
  end.

Definition holds (m : machine) : Prop :=
  let a := m_act m in
  (turned a = false -> standing a = down (count a)) /\
  length (standing a) <= count a /\ count a <= size /\
  agrees a (m_host m) /\ over a /\
  match m_mind m, ended a with Some v, None => minds a (m_host m) v | _, _ => True end.

Lemma holds_begun : holds begun.
Proof. unfold holds, begun, agrees, over, minds; simpl; repeat split; auto; try lia; contradiction. Qed.

Lemma happened_before (k : nat) (back : bool) (a : act) :
  (if back then In k (standing a) else k = count a /\ k < size /\ turned a = false) ->
  (turned a = false -> standing a = down (count a)) -> happened k back (standing a) = false.
Proof.
  unfold happened; intros H D; destruct back.
  - apply existsb_in in H; rewrite H; reflexivity.
  - destruct H as (-> & _ & T); rewrite (D T); destruct (existsb _ _) eqn:E; [|reflexivity].
    apply existsb_in, down_in in E; lia.
Qed.

Lemma happened_after (k : nat) (back : bool) (a : act) :
  (if back then In k (standing a) else k = count a /\ k < size /\ turned a = false) ->
  happened k back (effect k back (standing a)) = true.
Proof.
  unfold happened, effect; intros H; destruct back; simpl.
  - destruct (existsb _ _) eqn:E; [|reflexivity]; apply existsb_in, drop_in in E; tauto.
  - rewrite Nat.eqb_refl; reflexivity.
Qed.

Lemma next_back_some left l k : next_back left l = Some k -> In k l /\ blocked left k = false.
Proof. intros H; apply find_some in H; rewrite negb_true_iff in H; exact H. Qed.

Lemma next_back_none left l : next_back left l = None -> forall k, In k l -> blocked left k = true.
Proof. intros H k I; apply find_none with (x := k) in H; [apply negb_false_iff, H | exact I]. Qed.

Lemma blocked_self l k : In k l -> blocked l k = true.
Proof. intros I; apply existsb_exists; exists k; split; [exact I | apply Nat.eqb_refl]. Qed.

Lemma blocked_more x l k : blocked l k = true -> blocked (x :: l) k = true.
Proof. unfold blocked; simpl; intros ->; apply orb_true_r. Qed.

Lemma go_on_holds ok m v k back : holds m -> ended (m_act m) = None -> m_mind m = Some v ->
  intent (m_act m) = Some (k, back) -> holds (go_on ok m v k back).
Proof.
  destruct m as [[st n tu it en] [ws to] mi lg]; unfold holds, go_on; simpl.
  intros (D & L & N & A & O & M) -> -> ->; unfold agrees, minds in *; simpl in *.
  destruct A as [K W], M as (T & F & B & U & R); subst.
  pose proof (happened_before k (going_back v) (Act st n tu None None) K D) as H0.
  pose proof (happened_after k (going_back v) (Act st n tu None None) K) as H1; simpl in H0, H1.
  destruct v as [gb lf se re rc]; simpl in *; destruct re as [r|]; simpl.
  - (* the outcome is journalled *)
    destruct R as [-> ->], r, gb; simpl; unfold over; simpl.
    + split; [discriminate|]; split; [pose proof (drop_shorter k st); lia|]; split; [exact N|].
      split; [auto|]; split; [exact I|]; split; [reflexivity|]; split; [|auto].
      intros j J; apply drop_in; split; [auto|]; intros ->.
      rewrite (blocked_self _ _ J) in U; discriminate (U eq_refl).
    + destruct K as (-> & K & ->).
      split; [intros _; f_equal; auto|]; split; [lia|]; split; [lia|]; split; [auto|].
      split; [exact I|]; split; [discriminate|]; split; auto.
    + split; [exact D|]; split; [exact L|]; split; [exact N|]; split; [auto|]; split; [exact I|].
      split; [reflexivity|]; split; [|auto]; destruct se; simpl; [exact F|]; intros j [<-|J]; auto.
    + destruct K as (-> & K & ->).
      split; [exact D|]; split; [exact L|]; split; [exact N|]; split; [auto|]; split; [exact I|].
      split; [discriminate|]; split; [exact F | auto].
  - (* the effect happens, or is found out *)
    split; [exact D|]; split; [exact L|]; split; [exact N|].
    destruct se; simpl.
    + destruct to as [t|]; simpl.
      * destruct W as [[W _]|[W ->]]; [discriminate|].
        destruct ok; simpl; unfold over; simpl; repeat (split; auto).
      * destruct W as [[_ [->| ->]]|[W _]]; [| |discriminate].
        -- rewrite H0; simpl; unfold over; simpl; repeat (split; auto).
        -- rewrite H1; simpl; unfold over; simpl; repeat (split; auto).
    + destruct (R eq_refl) as [-> ->].
      destruct ok; simpl; unfold over; simpl; repeat (split; auto).
Qed.

Lemma go_further_holds ok m v : holds m -> ended (m_act m) = None -> m_mind m = Some v ->
  intent (m_act m) = None -> holds (go_further ok m v).
Proof.
  destruct m as [[st n tu it en] [ws to] mi lg]; unfold holds, go_further; simpl.
  intros (D & L & N & A & O & M) -> -> ->; unfold agrees, minds in *; simpl in *.
  destruct A as [-> ->], M as (T & F & R & S), v as [gb lf se re rc]; simpl in *; subst.
  destruct gb; simpl.
  - destruct (next_back lf st) as [k|] eqn:E; simpl; unfold over; simpl.
    + apply next_back_some in E; destruct E; repeat (split; auto).
    + repeat (split; auto); apply next_back_none; exact E.
  - assert (TF : tu = false) by (destruct tu; [discriminate (T eq_refl) | reflexivity]); subst.
    destruct (Nat.eqb_spec n size) as [->|NE]; simpl.
    + destruct (ok || rc); simpl; unfold over; simpl; repeat (split; auto); discriminate.
    + destruct (rc && negb is_undo); simpl; unfold over; simpl; repeat (split; auto); try lia; discriminate.
Qed.

Lemma tick_holds c m : holds m -> holds (tick c m).
Proof.
  intros H; unfold tick; destruct (ended (m_act m)) eqn:E; [exact H|].
  destruct (m_mind m) as [v|] eqn:V.
  - destruct c, (intent (m_act m)) as [[k back]|] eqn:I;
      auto using go_on_holds, go_further_holds.
    1,2: destruct H as (D & L & N & A & O & M); repeat (split; auto).
    + destruct H as (D & L & N & A & O & M); rewrite V, E in M.
      unfold agrees, minds in *; rewrite I in *; destruct A as [K W], M as (T & F & B & U & R).
      split; [exact D|]; split; [exact L|]; split; [exact N|]; split; [|split; [exact O | exact Logic.I]].
      unfold agrees; simpl; rewrite I; split; [exact K|].
      destruct (result v); [exact W|]; destruct (settling v); [exact W|].
      destruct (R eq_refl) as [_ ->]; auto.
    + destruct H as (D & L & N & A & O & M); repeat (split; auto).
  - destruct c; try exact H; destruct H as (D & L & N & A & O & M);
      (split; [exact D|]; split; [exact L|]; split; [exact N|]; split; [exact A|]; split; [exact O|];
       simpl; rewrite E; unfold agrees, minds, wake in *; simpl;
       destruct (intent (m_act m)) as [[k back]|]; simpl;
       [destruct A as [K W]; destruct back; simpl; rewrite ?orb_true_r, ?orb_false_r;
         repeat (split; auto); try discriminate; try contradiction;
         destruct K as (_ & _ & ->); try discriminate; auto
       | rewrite orb_false_r; repeat (split; auto); contradiction]).
Qed.

Lemma run_holds cs : forall m, holds m -> holds (run cs m).
Proof.
  induction cs as [|c cs IH]; simpl; intros m H; [exact H | apply IH, tick_holds, H].
Qed.

(** ** T4 *)

(** T4: whenever a transaction has ended, after any crashes at any points, in running or in recovery, nothing
    is torn; committed means that every step's effect stands, aborted that none stands but on the subjects
    that the abort record names, so none at all where it names none. *)
Theorem t4_wholly_done_or_wholly_taken_back : forall cs e,
  ended (m_act (run cs begun)) = Some e ->
  let h := m_host (run cs begun) in
  torn h = None /\
  match e with
  | Committed => stands h = down size
  | Aborted lost => (forall k, In k (stands h) -> blocked lost k = true) /\ (lost = [] -> stands h = [])
  end.
Proof.
  intros cs e E; destruct (run_holds cs _ holds_begun) as (_ & _ & _ & A & O & _).
  unfold agrees, over in *; rewrite E in O; destruct e as [|l].
  - destruct O as [I S]; rewrite I, S in A; exact A.
  - destruct O as [I S]; rewrite I in A; destruct A as [T ->]; split; [exact T|]; split; [exact S|].
    intros ->; destruct (standing _) as [|k r]; [reflexivity|].
    discriminate (S k (or_introl eq_refl)).
Qed.

(** T4: recovery is idempotent: of a transaction that has ended, nothing that comes changes anything. *)
Theorem t4_recovery_is_idempotent : forall cs m, ended (m_act m) <> None -> run cs m = m.
Proof.
  induction cs as [|c cs IH]; simpl; intros m E; [reflexivity|].
  replace (tick c m) with m; [exact (IH m E)|].
  unfold tick; destruct (ended (m_act m)); [reflexivity | contradiction].
Qed.

(** T4: an acknowledged act survives: once its commit is durable, it stands whole after whatever comes. *)
Theorem t4_acknowledged_acts_survive : forall before after,
  ended (m_act (run before begun)) = Some Committed ->
  run (before ++ after) begun = run before begun /\
  stands (m_host (run (before ++ after) begun)) = down size.
Proof.
  intros before after E.
  assert (R : run (before ++ after) begun = run before begun).
  { unfold run; rewrite fold_left_app; apply t4_recovery_is_idempotent; unfold run in E; rewrite E; discriminate. }
  split; [exact R|]; rewrite R; apply (t4_wholly_done_or_wholly_taken_back _ _ E).
Qed.

(** T4: what is taken back next is, on its subject, the newest that stands: reverse order. *)
Theorem t4_taken_back_in_reverse : forall left l k,
  next_back left l = Some k ->
  exists newer older, l = newer ++ k :: older /\ forall j, In j newer -> subject j <> subject k.
Proof.
  unfold next_back; intros left l k; induction l as [|x l IH]; simpl; [discriminate|].
  destruct (blocked left x) eqn:B; simpl.
  - intros H; destruct (IH H) as (a & b & -> & N); exists (x :: a), b; split; [reflexivity|].
    intros j [<-|J]; [|auto]; intros S; apply find_some in H; destruct H as [_ H].
    apply negb_true_iff in H; unfold blocked in *; rewrite S in B; congruence.
  - intros [= <-]; exists [], l; split; [reflexivity | contradiction].
Qed.

(** *** Recovery ends *)

Definition calm (c : chance) : Prop := c = Go \/ c = No.

Definition unblocked (left l : list nat) : nat := length (filter (fun k => negb (blocked left k)) l).

(** How much is left to do, at most. *)
Definition work (m : machine) : nat :=
  let a := m_act m in
  let x := 4 * size + 8 in
  match ended a, m_mind m with
  | Some _, _ => 0
  | None, None => 4 * x
  | None, Some v =>
      (if settling v then 2 * x else 0) + (if going_back v then 0 else x)
      + 4 * (if going_back v then unblocked (left_ v) (standing a) else size - count a)
      + match intent a, result v with None, _ => 3 | Some _, None => 2 | Some _, Some _ => 1 end
  end.

Lemma filter_shorter {A} (f : A -> bool) l : length (filter f l) <= length l.
Proof. induction l as [|x l IH]; simpl; [lia | destruct (f x); simpl; lia]. Qed.

Lemma filter_more {A} (f g : A -> bool) l : (forall x, g x = true -> f x = true) ->
  length (filter g l) <= length (filter f l).
Proof.
  intros H; induction l as [|x l IH]; simpl; [lia|].
  destruct (g x) eqn:G; [rewrite (H x G); simpl; lia | destruct (f x); simpl; lia].
Qed.

Lemma filter_fewer {A} (f g : A -> bool) l k : (forall x, g x = true -> f x = true) ->
  In k l -> f k = true -> g k = false -> length (filter g l) < length (filter f l).
Proof.
  intros H I F G; induction l as [|x l IH]; [destruct I|]; simpl.
  pose proof (filter_more f g l H); destruct I as [->|I].
  - rewrite F, G; simpl; lia.
  - specialize (IH I); destruct (g x) eqn:X; [rewrite (H x X); simpl; lia | destruct (f x); simpl; lia].
Qed.

Lemma unblocked_drop left k l : In k l -> blocked left k = false -> unblocked left (drop k l) < unblocked left l.
Proof.
  unfold unblocked; intros I B; replace (filter _ (drop k l))
    with (filter (fun j => negb (blocked left j) && negb (Nat.eqb j k)) l).
  - apply filter_fewer with k; [intros x X; apply andb_true_iff in X; tauto | exact I | |].
    + rewrite B; reflexivity.
    + rewrite Nat.eqb_refl; apply andb_false_r.
  - unfold drop; induction l as [|x l IH]; [reflexivity|]; simpl.
    assert (E : filter (fun j => negb (blocked left j) && negb (j =? k)) l
                = filter (fun k0 => negb (blocked left k0)) (filter (fun j => negb (j =? k)) l)).
    { clear; induction l as [|y l IH]; [reflexivity|]; simpl.
      destruct (y =? k); simpl; [rewrite andb_false_r; exact IH|].
      destruct (blocked left y); simpl; [exact IH | f_equal; exact IH]. }
    destruct (x =? k); simpl; [rewrite andb_false_r; exact E|].
    destruct (blocked left x); simpl; [exact E | f_equal; exact E].
Qed.

Lemma unblocked_block left k l : In k l -> blocked left k = false -> unblocked (k :: left) l < unblocked left l.
Proof.
  unfold unblocked; intros I B; apply filter_fewer with k; [| exact I | |].
  - intros x X; apply negb_true_iff in X; apply negb_true_iff.
    unfold blocked in *; simpl in X; apply orb_false_iff in X; tauto.
  - rewrite B; reflexivity.
  - rewrite blocked_self by (left; reflexivity); reflexivity.
Qed.

Lemma tick_works c m : holds m -> calm c -> ended (m_act m) = None -> work (tick c m) < work m.
Proof.
  intros H C E; destruct m as [[st n tu it en] h [v|] lg]; simpl in E; subst.
  - destruct H as (D & L & N & A & O & M); simpl in *; unfold agrees, minds in *; simpl in *.
    destruct v as [gb lf se re rc]; simpl in *.
    pose proof (filter_shorter (fun k => negb (blocked lf k)) st) as FL; fold (unblocked lf st) in FL.
    destruct it as [[k back]|].
    + destruct A as [K W], M as (T & F & B & U & R); subst.
      assert (X : tick c (Machine (Act st n tu (Some (k, back)) None) h (Some (Memory back lf se re rc)) lg)
        = go_on (is_go c) (Machine (Act st n tu (Some (k, back)) None) h (Some (Memory back lf se re rc)) lg)
                (Memory back lf se re rc) k back) by (destruct C as [-> | ->]; reflexivity).
      rewrite X; unfold go_on, work; simpl; destruct re as [r|]; simpl; [|lia].
      destruct r, back, se; simpl; try lia.
      1,2: pose proof (unblocked_drop lf k st K (U eq_refl)); lia.
      pose proof (unblocked_block lf k st K (U eq_refl)); lia.
    + assert (X : tick c (Machine (Act st n tu None None) h (Some (Memory gb lf se re rc)) lg)
        = go_further (is_go c) (Machine (Act st n tu None None) h (Some (Memory gb lf se re rc)) lg)
                (Memory gb lf se re rc)) by (destruct C as [-> | ->]; reflexivity).
      rewrite X; unfold go_further, work; simpl; destruct M as (_ & _ & -> & ->).
      destruct gb; simpl.
      * destruct (next_back lf st); simpl; lia.
      * destruct (Nat.eqb_spec n size); simpl.
        -- destruct (is_go c || rc); simpl; lia.
        -- destruct (rc && negb is_undo); simpl; lia.
  - destruct H as (D & L & N & A & O & M); simpl in *.
    pose proof (filter_shorter (fun k => negb (blocked [] k)) st) as FL; fold (unblocked [] st) in FL.
    destruct C as [-> | ->]; unfold tick, think, wake, work; simpl;
      destruct it as [[k [|]]|]; simpl; rewrite ?orb_true_r, ?orb_false_r; destruct tu; simpl; lia.
Qed.

(** T4: recovery ends: without a further crash, and however many effects are refused on the way, it has ended
    every transaction within a number of steps that depends on the size of the plan alone. *)
Theorem t4_recovery_ends : forall cs calmly,
  Forall calm calmly -> 16 * size + 32 <= length calmly ->
  ended (m_act (run (cs ++ calmly) begun)) <> None.
Proof.
  assert (G : forall calmly m, holds m -> Forall calm calmly -> work m <= length calmly ->
    ended (m_act (run calmly m)) <> None).
  { induction calmly as [|c l IH]; simpl; intros m H C W.
    - unfold work in W; destruct (ended (m_act m)); [discriminate|].
      exfalso; destruct (m_mind m) as [v|]; [|lia].
      destruct (intent (m_act m)), (result v); lia.
    - inversion C; subst; destruct (ended (m_act m)) eqn:E.
      + unfold tick; rewrite E; change (fold_left _ l m) with (run l m).
        rewrite t4_recovery_is_idempotent by (rewrite E; discriminate); rewrite E; discriminate.
      + apply IH; [apply tick_holds; exact H | assumption|].
        pose proof (tick_works c m H ltac:(assumption) E); lia. }
  intros cs calmly C W; unfold run; rewrite fold_left_app.
  apply G; [apply run_holds, holds_begun | exact C|].
  pose proof (run_holds cs _ holds_begun) as (_ & L & N & _).
  fold (run cs begun) in *; revert L N; generalize (run cs begun).
  intros [[st n tu it en] h mi lg]; unfold work; simpl; intros L N.
  destruct en; [lia|]; destruct mi as [[gb lf se re rc]|]; simpl; [|lia].
  pose proof (filter_shorter (fun k => negb (blocked lf k)) st) as FL; fold (unblocked lf st) in FL.
  destruct se, gb, it, re; lia.
Qed.

End Transaction.

(** *** Instances: a plan of three steps on two containers *)

Definition sides (k : nat) : nat := if Nat.eqb k 1 then 1 else 0.

Definition lived (is_undo : bool) (cs : list chance) : machine := run 3 sides is_undo cs begun.

Definition outcome (m : machine) : option ending * list nat := (ended (m_act m), stands (m_host m)).

Definition calm_days : list chance := repeat Go 40.

(** It goes well. *)
Example all_goes_well : outcome (lived false calm_days) = (Some Committed, [2; 1; 0]).
Proof. vm_compute; reflexivity. Qed.

(** The power goes in the middle of the second effect, and again while the first is being taken back. *)
Example cut_twice :
  outcome (lived false ([Go; Go; Go; Go; Tear; Go; Go; Go; Go; Go; Cut] ++ calm_days)) = (Some (Aborted []), []).
Proof. vm_compute; reflexivity. Qed.

(** An undo is driven forward instead. *)
Example undo_cut : outcome (lived true ([Go; Go; Go; Go; Tear] ++ calm_days)) = (Some Committed, [2; 1; 0]).
Proof. vm_compute; reflexivity. Qed.

(** The third step fails, and the second cannot be taken back: the first, of another container, is. *)
Example one_is_left :
  outcome (lived false ([Go; Go; Go; Go; Go; Go; Go; No; Go; Go; No] ++ calm_days)) = (Some (Aborted [1]), [1]).
Proof. vm_compute; reflexivity. Qed.

(** Without its commit the engine that comes back finds all three steps done, and commits. *)
Example only_the_commit_is_missing :
  outcome (lived false (repeat Go 9 ++ [Cut] ++ calm_days)) = (Some Committed, [2; 1; 0])
  /\ outcome (lived false (repeat Go 9 ++ [Cut])) = (None, [2; 1; 0]).
Proof. vm_compute; split; reflexivity. Qed.
