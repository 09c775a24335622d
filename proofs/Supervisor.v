(** * Supervision

    Models [vordr/actors/restarts.py] ([admit], [affected], [after_exit]) and the decisions of
    [vordr/actors/supervisor.py] ([_on_exit], [_restart]) as [actors/root.py] sets its tree up. Times are whole
    numbers of any unit.

    T6  at most [intensity] restarts in any window of [period] before escalation or parking; rest_for_one
        restarts exactly the failed child and its younger siblings, in order; a parked container never reaches
        the root. *)

From Coq Require Import List Bool Arith Lia.
Import ListNotations.

(** ** Intensity *)

(** [restarts.admit]: whether a restart at [now] keeps within the intensity, and the times still in the window. *)
Definition admit (intensity period : nat) (times : list nat) (now : nat) : bool * list nat :=
  let recent := filter (fun t => now <=? t + period) times in
  if intensity <=? length recent then (false, recent) else (true, recent ++ [now]).

(** The times at which a restart was admitted, of those at which one was needed. *)
Fixpoint admitted (intensity period : nat) (times asks : list nat) : list nat :=
  match asks with
  | [] => []
  | t :: rest =>
      let (ok, times) := admit intensity period times t in
      if ok then t :: admitted intensity period times rest else admitted intensity period times rest
  end.

(** Time does not run backwards (the monotonic clock). *)
Fixpoint ordered (from : nat) (asks : list nat) : Prop :=
  match asks with
  | [] => True
  | t :: rest => from <= t /\ ordered t rest
  end.

(** How many of these lie in the closed window of [period] from [a] on. *)
Definition inside (period a : nat) (l : list nat) : nat :=
  length (filter (fun t => (a <=? t) && (t <=? a + period)) l).

Lemma filter_twice (p : nat) t now l : t <= now ->
  filter (fun x => now <=? x + p) (filter (fun x => t <=? x + p) l) = filter (fun x => now <=? x + p) l.
Proof.
  intros L; induction l as [|x l IH]; [reflexivity|]; simpl.
  destruct (Nat.leb_spec t (x + p)); simpl; rewrite IH; destruct (Nat.leb_spec now (x + p)); try reflexivity; lia.
Qed.

Lemma inside_recent p a t l : t <= a + p -> (forall x, In x l -> x <= t) ->
  inside p a l <= length (filter (fun x => t <=? x + p) l).
Proof.
  intros L B; unfold inside; induction l as [|x l IH]; simpl; [lia|].
  pose proof (B x (or_introl eq_refl)); specialize (IH (fun y I => B y (or_intror I))).
  destruct (Nat.leb_spec a x), (Nat.leb_spec x (a + p)), (Nat.leb_spec t (x + p)); simpl; lia.
Qed.

Lemma inside_app p a l m : inside p a (l ++ m) = inside p a l + inside p a m.
Proof. unfold inside; rewrite filter_app, app_length; reflexivity. Qed.

Lemma admitted_bounded intensity period asks : forall hist times last,
  (forall t, In t hist -> t <= last) ->
  (forall now, last <= now -> filter (fun t => now <=? t + period) times
                            = filter (fun t => now <=? t + period) hist) ->
  (forall a, inside period a hist <= intensity) -> ordered last asks ->
  forall a, inside period a (hist ++ admitted intensity period times asks) <= intensity.
Proof.
  induction asks as [|t asks IH]; intros hist times last B E W O a; simpl.
  - rewrite app_nil_r; apply W.
  - destruct O as [O O']; unfold admit.
    destruct (Nat.leb_spec intensity (length (filter (fun x => t <=? x + period) times))) as [F|F].
    + apply IH with (last := t); auto.
      * intros x I; specialize (B x I); lia.
      * intros n L; rewrite filter_twice by exact L; apply E; lia.
    + replace (hist ++ t :: _) with
        ((hist ++ [t]) ++ admitted intensity period (filter (fun x => t <=? x + period) times ++ [t]) asks)
        by (rewrite <- app_assoc; reflexivity).
      rewrite (E t O) in F; apply IH with (last := t); [| | | exact O'].
      * intros x I; apply in_app_or in I; destruct I as [I|[<-|[]]]; [specialize (B x I)|]; lia.
      * intros n L; rewrite !filter_app, filter_twice by exact L; rewrite E by lia; reflexivity.
      * intros b; rewrite inside_app; specialize (W b); unfold inside at 2; simpl.
        destruct (Nat.leb_spec b t), (Nat.leb_spec t (b + period)); simpl; try lia.
        pose proof (inside_recent period b t hist ltac:(assumption) (fun x I => Nat.le_trans _ _ _ (B x I) O)); lia.
Qed.

(** T6: in any window of [period], wherever it begins, at most [intensity] restarts are admitted. *)
Theorem t6_intensity_bounds_every_window : forall intensity period asks,
  ordered 0 asks -> forall a, inside period a (admitted intensity period [] asks) <= intensity.
Proof.
  intros intensity period asks O a.
  apply (admitted_bounded intensity period asks [] [] 0); try exact O; try reflexivity; [contradiction|].
  intros b; unfold inside; simpl; lia.
Qed.

(** T6: nor does a crash of the engine widen it: a supervisor seeded with the restarts journalled before
    ([Supervisor._seed]) counts them. *)
Theorem t6_intensity_survives_a_crash : forall intensity period before after now,
  ordered 0 before -> (forall t, In t before -> t <= now) -> ordered now after ->
  let kept := admitted intensity period [] before in
  forall a, inside period a (kept ++ admitted intensity period kept after) <= intensity.
Proof.
  intros i p before after now O B A kept; apply admitted_bounded with (last := now); try exact A; try reflexivity.
  - assert (G : forall asks times, (forall t, In t asks -> t <= now) ->
      forall t, In t (admitted i p times asks) -> t <= now).
    { induction asks as [|x asks IH]; simpl; intros times L t I; [contradiction|].
      destruct (admit i p times x) as [ok ts]; destruct ok; [destruct I as [<-|I]|]; eauto. }
    apply G; exact B.
  - intros a; apply t6_intensity_bounds_every_window; exact O.
Qed.

(** ** Who is restarted *)

(** [childspec.Strategy] *)
Inductive strategy := one_for_one | one_for_all | rest_for_one.

(** [order[order.index(failed):]] *)
Fixpoint from (failed : nat) (order : list nat) : list nat :=
  match order with
  | [] => []
  | c :: rest => if Nat.eqb c failed then order else from failed rest
  end.

(** [restarts.affected] *)
Definition affected (s : strategy) (order : list nat) (failed : nat) : list nat :=
  match s with
  | one_for_one => [failed]
  | one_for_all => order
  | rest_for_one => from failed order
  end.

(** T6: rest_for_one restarts exactly the failed child and those started after it, in the order of their start,
    and no older one. *)
Theorem t6_rest_for_one : forall older failed younger,
  ~ In failed older -> affected rest_for_one (older ++ failed :: younger) failed = failed :: younger.
Proof.
  simpl; induction older as [|c older IH]; simpl; intros failed younger N.
  - rewrite Nat.eqb_refl; reflexivity.
  - destruct (Nat.eqb_spec c failed); [destruct N; auto | apply IH; auto].
Qed.

(** ** Decisions *)

(** [childspec.Restart] *)
Inductive restart := permanent | transient | temporary.

(** [reasons.Reason] *)
Inductive reason := normal | shutdown | crashed | killed | fatal.

Definition abnormal (r : reason) : bool := match r with normal | shutdown => false | _ => true end.

Inductive after := Again | Leave | End_.

(** [restarts.after_exit] *)
Definition after_exit (kind : restart) (is_fatal : bool) (r : reason) : after :=
  match r with
  | fatal => End_
  | _ => if is_fatal && abnormal r then End_
         else match kind with
              | permanent => Again
              | transient => if abnormal r then Again else Leave
              | temporary => Leave
              end
  end.

(** [childspec.SupervisorSpec]; [parks]: what too many restarts lead to is rest for that one child. *)
Record flags := Flags { how : strategy; intensity : nat; period : nat; parks : bool }.

(** [childspec.ChildSpec] *)
Record child := Child { c_kind : restart; c_fatal : bool }.

(** The restart windows: one for all, and one for each child. Only one of the two is in use. *)
Record state := State { shared : list nat; own : nat -> list nat }.

Definition rested : state := State [] (fun _ => []).

(** [childspec.Action], of which [Restarted] carries whom. *)
Inductive decision := Restarted (group : list nat) | Parked | Escalated | Left | Ended.

(** [Supervisor._on_exit] and [_restart]: [id] ended at [now] for [r]. *)
Definition on_exit (f : flags) (order : list nat) (c : child) (st : state) (id now : nat) (r : reason)
  : decision * state :=
  match after_exit (c_kind c) (c_fatal c) r with
  | End_ => (Ended, st)
  | Leave => (Left, st)
  | Again =>
      let (ok, times) := admit (intensity f) (period f) (if parks f then own st id else shared st) now in
      let st := if parks f then State (shared st) (fun i => if Nat.eqb i id then times else own st i)
                else State times (own st) in
      (if ok then Restarted (affected (how f) order id) else if parks f then Parked else Escalated, st)
  end.

(** One end of a container's actor. *)
Record end_ := End { e_id : nat; e_time : nat; e_reason : reason }.

(** The supervisor of containers through a run of ends. *)
Fixpoint decisions (f : flags) (c : child) (st : state) (ends : list end_) : list (end_ * decision) :=
  match ends with
  | [] => []
  | e :: rest => let (d, st) := on_exit f [e_id e] c st (e_id e) (e_time e) (e_reason e) in
                 (e, d) :: decisions f c st rest
  end.

(** What the supervisor above sees of it: an escalation is its child's shutdown, a fatal end its own. *)
Definition reaches (d : decision) : bool := match d with Escalated | Ended => true | _ => false end.

(** Two levels, as in [root.py]: what reaches the root is an end of its child number 0. *)
Definition root_after (f : flags) (order : list nat) (c : child) (root : state) (tr : list (end_ * decision)) : state :=
  fold_left (fun root ed =>
    if reaches (snd ed) then snd (on_exit f order c root 0 (e_time (fst ed)) shutdown) else root) tr root.

(** T6: under a supervisor that parks, whatever its children do, none of their ends reaches the root: it
    decides nothing, restarts nothing, and its own window stays as it was. *)
Theorem t6_a_parked_container_never_reaches_the_root : forall f c ends st,
  parks f = true -> c_fatal c = false -> (forall e, In e ends -> e_reason e <> fatal) ->
  (forall ed, In ed (decisions f c st ends) -> reaches (snd ed) = false) /\
  forall rf order rc root, root_after rf order rc root (decisions f c st ends) = root.
Proof.
  intros f c ends st P F N.
  assert (G : forall ed, In ed (decisions f c st ends) -> reaches (snd ed) = false).
  { revert st; induction ends as [|e ends IH]; simpl; intros st ed I; [contradiction|].
    pose proof (N e (or_introl eq_refl)) as NE.
    destruct (on_exit f [e_id e] c st (e_id e) (e_time e) (e_reason e)) as [d st'] eqn:X.
    destruct I as [<-|I]; [|apply (IH (fun x J => N x (or_intror J)) st'); exact I].
    unfold on_exit, after_exit in X; rewrite P, F in X; simpl in X.
    destruct (admit (intensity f) (period f) (own st (e_id e)) (e_time e)) as [ok ts].
    destruct (e_reason e), (c_kind c); try contradiction; simpl in X; try destruct ok;
      injection X as <- _; reflexivity. }
  split; [exact G|]; intros rf order rc root; unfold root_after.
  revert root G; generalize (decisions f c st ends); induction l as [|ed l IH]; simpl; intros root G; [reflexivity|].
  rewrite (G ed (or_introl eq_refl)); apply IH; auto.
Qed.

(** T6: and under it one container's failures do not touch another's window. *)
Theorem t6_windows_are_apart : forall f order c st id now r other,
  parks f = true -> other <> id -> own (snd (on_exit f order c st id now r)) other = own st other.
Proof.
  intros f order c st id now r other P N; unfold on_exit; destruct (after_exit _ _ _); try reflexivity.
  destruct (admit _ _ _ _); rewrite P; simpl; destruct (Nat.eqb_spec other id); [contradiction | reflexivity].
Qed.

(** The restarts of one container in a run. *)
Definition restarts_of (id : nat) (tr : list (end_ * decision)) : list nat :=
  map (fun ed => e_time (fst ed))
      (filter (fun ed => Nat.eqb (e_id (fst ed)) id && match snd ed with Restarted _ => true | _ => false end) tr).

(** T6: in any run of ends, a container is restarted at most [intensity] times in any window of [period];
    the end after that parks it. *)
Theorem t6_a_container_restarts_within_intensity : forall f c ends id,
  parks f = true -> ordered 0 (map e_time ends) ->
  forall a, inside (period f) a (restarts_of id (decisions f c rested ends)) <= intensity f.
Proof.
  intros f c ends id P O.
  assert (G : forall st ends, restarts_of id (decisions f c st ends)
    = admitted (intensity f) (period f) (own st id)
        (map e_time (filter (fun e => Nat.eqb (e_id e) id &&
           match after_exit (c_kind c) (c_fatal c) (e_reason e) with Again => true | _ => false end) ends))).
  { clear O ends; intros st ends; revert st; induction ends as [|e ends IH]; intros st; [reflexivity|]; simpl.
    unfold on_exit; rewrite P; destruct (after_exit (c_kind c) (c_fatal c) (e_reason e)) eqn:A.
    - destruct (Nat.eqb_spec (e_id e) id) as [E|E]; simpl.
      + rewrite E; destruct (admit (intensity f) (period f) (own st id) (e_time e)) as [ok ts] eqn:D.
        unfold restarts_of in *; simpl; rewrite E, Nat.eqb_refl; destruct ok; simpl; rewrite IH; simpl;
          rewrite Nat.eqb_refl; reflexivity.
      + destruct (admit (intensity f) (period f) (own st (e_id e)) (e_time e)) as [ok ts].
        unfold restarts_of in *; simpl; destruct (Nat.eqb_spec (e_id e) id); [contradiction|]; simpl.
        rewrite IH; simpl; destruct (Nat.eqb_spec id (e_id e)); [congruence | reflexivity].
    - unfold restarts_of in *; simpl; rewrite !andb_false_r; apply IH.
    - unfold restarts_of in *; simpl; rewrite !andb_false_r; apply IH. }
  rewrite G; intros a; apply t6_intensity_bounds_every_window; revert O; clear; generalize 0.
  induction ends as [|e ends IH]; simpl; intros n O; [exact I|]; destruct O as [O O'].
  destruct (_ && _); simpl; [split; [exact O | apply IH; exact O']|].
  specialize (IH _ O'); revert IH; generalize (map e_time (filter (fun e => Nat.eqb (e_id e) id &&
    match after_exit (c_kind c) (c_fatal c) (e_reason e) with Again => true | _ => false end) ends)).
  intros [|x l]; simpl; [trivial | intros [A B]; split; [lia | exact B]].
Qed.

(** *** Instances *)

Definition containers : flags := Flags one_for_one 3 60 true.
Definition container : child := Child permanent false.

Definition storm : list end_ := map (fun t => End 7 t crashed) [0; 10; 20; 30; 40; 81].

(** Three restarts in 60, then parked; a window later (as if woken) it is restarted again. *)
Example three_restarts_then_parked :
  map snd (decisions containers container rested storm)
  = [Restarted [7]; Restarted [7]; Restarted [7]; Parked; Parked; Restarted [7]].
Proof. vm_compute; reflexivity. Qed.

(** The same under a supervisor that escalates does reach the root, and is counted there. *)
Example an_escalation_is_seen :
  let tr := decisions (Flags one_for_one 1 60 false) container rested storm in
  existsb (fun ed => reaches (snd ed)) tr = true
  /\ root_after (Flags rest_for_one 5 60 false) [0; 1] container rested tr <> rested.
Proof. vm_compute; split; [reflexivity | discriminate]. Qed.

(** journal ► services ► containers: when services fail, the journal is left alone. *)
Example services_take_containers_along : affected rest_for_one [1; 2; 3] 2 = [2; 3].
Proof. reflexivity. Qed.
