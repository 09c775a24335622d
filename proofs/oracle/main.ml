(* The oracle: reads one request a line, answers one line. What it says is computed by the extracted
   definitions alone; this file only reads words and prints them.

     life EVENT|EVENT…           acts and undos on an empty world (Undo)
     gate DEED|DEED…             verdicts, revocations, intents, effects (Verdict)
     journal SIZE UNDO SUBJECTS CHANCES   one transaction through crashes (Journal)
     tree N                      the shape of the tree of N leaves (Chain)
     threshold NOW ADOPTED KEYS GROUPS REVOKED ATTESTATIONS   (Threshold)
     supervise STRATEGY INTENSITY PERIOD PARKS KIND FATAL ORDER ENDS   (Supervisor)

   A list is joined by commas (a dot when empty), "-" is none. *)

module L = Stdlib.List
module S = Stdlib.String

let words c text = L.filter (fun w -> w <> "") (S.split_on_char c text)
let items c text = if text = "." then [] else S.split_on_char c text
let numbers text = L.map int_of_string (items ',' text)
let optional f text = if text = "-" then None else Some (f text)
let listed c l = if l = [] then "." else S.concat c l
let shown_numbers l = listed "," (L.map string_of_int l)
let shown f = function None -> "-" | Some x -> f x

(* -- Lifecycle ------------------------------------------------------------------------------------ *)

let state_names = Lifecycle.[
  "image_only", Coq_image_only; "created", Coq_created; "running", Coq_running; "paused", Coq_paused;
  "stopped", Coq_stopped; "removed", Coq_removed ]

let op_names = Lifecycle.[
  "create", Coq_create; "start", Coq_start; "pause", Coq_pause; "resume", Coq_resume; "stop", Coq_stop;
  "kill", Coq_kill; "exit", Coq_exit; "remove", Coq_remove; "uncreate", Coq_uncreate;
  "recreate", Coq_recreate; "unstart", Coq_unstart; "reopen", Coq_reopen; "revive", Coq_revive;
  "restore", Coq_restore ]

let name_in table value = fst (L.find (fun (_, v) -> v = value) table)
let state text = L.assoc text state_names
let op text = L.assoc text op_names

(* image/name/addresses/ports/state/generations, the newest generation first *)
let container text =
  match S.split_on_char '/' text with
  | [image; name; addresses; ports; st; generations] ->
      { Lifecycle.c_image = int_of_string image; c_spec = 0; c_name = int_of_string name;
        c_addresses = numbers addresses; c_ports = numbers ports; c_state = state st;
        c_generations = numbers generations }
  | _ -> failwith ("container " ^ text)

let shown_container c =
  S.concat "/" Lifecycle.[
    string_of_int c.c_image; string_of_int c.c_name; shown_numbers c.c_addresses; shown_numbers c.c_ports;
    name_in state_names c.c_state; shown_numbers c.c_generations ]

let step o id to_ generation name made =
  { Lifecycle.s_op = op o; s_id = int_of_string id;
    s_args = { Lifecycle.a_container = optional container made; a_to = optional state to_;
               a_generation = optional int_of_string generation; a_name = optional int_of_string name } }

let subjects = [1; 2; 3]

let shown_world w =
  let open Undo in
  S.concat " " (L.map (fun i -> shown shown_container (w.at_ i)) subjects)
  ^ " " ^ S.concat " " (L.map (fun n -> shown string_of_int (w.holder (Name n))) subjects)

let position x l =
  let rec go n = function [] -> failwith "position" | y :: r -> if x == y then n else go (n + 1) r in go 0 l

let life text =
  let session = ref Undo.fresh in
  let happen event =
    let answer = match words ' ' event with
      | ["act"; o; id; to_; generation; name; made] ->
          Undo.perform (step o id to_ generation name made) !session
      | ["undo"; n] -> Undo.undo (int_of_string n) !session
      | _ -> failwith event in
    let said = match answer with
      | Undo.Done next -> session := next; "done"
      | Undo.Refused -> "refused"
      | Undo.Blocked by -> "blocked " ^ shown_numbers (L.map (fun e -> position e !session.Undo.past) by)
    in said ^ ";" ^ shown_world !session.Undo.now in
  S.concat "|" (L.map happen (words '|' text))

let gate text =
  let now = ref Verdict.shut in
  let happen deed =
    let done_ = match words ' ' deed with
      | ["judge"; image] -> Verdict.gstep (Verdict.Judge (int_of_string image)) !now
      | ["revoke"] -> Verdict.gstep Verdict.Revoke !now
      | ["intend"; o; id; to_; generation; name; made; verdict] ->
          let v = match verdict with
            | "-" -> None
            | v -> (match items ',' v with
                    | [image; epoch] -> Some { Verdict.v_image = int_of_string image; v_epoch = int_of_string epoch }
                    | _ -> failwith v) in
          Verdict.gstep (Verdict.Intend (step o id to_ generation name made, v)) !now
      | ["effect"; id; image] -> Verdict.gstep (Verdict.Effect (int_of_string id, int_of_string image)) !now
      | _ -> failwith deed in
    match done_ with Some next -> now := next; "done" | None -> "refused" in
  S.concat "|" (L.map happen (words '|' text))

(* -- Journal -------------------------------------------------------------------------------------- *)

let shown_rec = function
  | Journal.Begin -> "begin"
  | Journal.Intent (k, b) -> Printf.sprintf "intent%s%d" (if b then "-" else "+") k
  | Journal.Done (k, b) -> Printf.sprintf "done%s%d" (if b then "-" else "+") k
  | Journal.Failed (k, b) -> Printf.sprintf "failed%s%d" (if b then "-" else "+") k
  | Journal.Commit -> "commit"
  | Journal.Abort left -> "abort:" ^ shown_numbers left

(* Steps of the model that touch neither journal nor host take no chance of their own. *)
let takes_chance size is_undo m =
  let open Journal in
  match m.m_mind, m.m_act.intent with
  | None, _ -> false
  | Some _, Some _ -> true
  | Some v, None ->
      v.going_back || m.m_act.count = size || not (v.recovering && not is_undo)

let journal size is_undo subject chances =
  let rec go fuel chances m =
    if m.Journal.m_act.Journal.ended <> None then m
    else if fuel = 0 then failwith "no end"
    else if takes_chance size is_undo m then
      match chances with
      | [] -> go (fuel - 1) [] (Journal.tick size subject is_undo Journal.Go m)
      | c :: rest -> go (fuel - 1) rest (Journal.tick size subject is_undo c m)
    else go (fuel - 1) chances (Journal.tick size subject is_undo Journal.Go m) in
  let m = go 10000 chances Journal.begun in
  S.concat " " (L.rev_map shown_rec m.Journal.m_log) ^ ";" ^ shown_numbers m.Journal.m_host.Journal.stands

let chance = function
  | 'G' -> Journal.Go | 'N' -> Journal.No | 'C' -> Journal.Cut | 'T' -> Journal.Tear
  | c -> failwith (S.make 1 c)

(* -- Chain ---------------------------------------------------------------------------------------- *)

let tree n =
  let rec shape = function
    | Chain.Leaf _ -> "*"
    | Chain.Node (l, r) -> "(" ^ shape l ^ shape r ^ ")" in
  shown shape (Chain.build (L.init n (fun _ -> [])))

(* -- Threshold ------------------------------------------------------------------------------------ *)

let fields c text = S.split_on_char c text

let key text =
  match fields ':' text with
  | [id; raw; builder; signer; from; until] ->
      { Threshold.k_id = int_of_string id; k_raw = int_of_string raw; k_builder = builder = "1";
        k_signer = signer = "1"; k_from = int_of_string from; k_until = optional int_of_string until }
  | _ -> failwith text

let group text =
  match fields ':' text with
  | [own; k; members] ->
      { Threshold.g_own = own = "1"; g_k = int_of_string k; g_members = numbers members }
  | _ -> failwith text

let signature text =
  match fields ':' text with
  | [id; bytes] -> { Threshold.s_id = int_of_string id; s_bytes = int_of_string bytes }
  | _ -> failwith text

let threshold now adopted keys groups revoked attestations =
  let store = { Threshold.keys = L.map key (items ';' keys); groups = L.map group (items ';' groups);
                revoked = numbers revoked } in
  let bundle = L.map (fun a -> L.map signature (items ';' a)) (items '/' attestations) in
  (* The bytes of a signature stand for the public key that made them. *)
  if Threshold.decide (fun raw bytes -> raw = bytes) (int_of_string now) store (adopted = "1") bundle
  then "accept" else "reject"

(* -- Supervisor ----------------------------------------------------------------------------------- *)

let strategy = function
  | "one_for_one" -> Supervisor.Coq_one_for_one | "one_for_all" -> Supervisor.Coq_one_for_all
  | "rest_for_one" -> Supervisor.Coq_rest_for_one | s -> failwith s

let kind = function
  | "permanent" -> Supervisor.Coq_permanent | "transient" -> Supervisor.Coq_transient
  | "temporary" -> Supervisor.Coq_temporary | s -> failwith s

let reason = function
  | "normal" -> Supervisor.Coq_normal | "shutdown" -> Supervisor.Coq_shutdown
  | "crashed" -> Supervisor.Coq_crashed | "killed" -> Supervisor.Coq_killed
  | "fatal" -> Supervisor.Coq_fatal | s -> failwith s

let shown_decision = function
  | Supervisor.Restarted group -> "restart " ^ shown_numbers group
  | Supervisor.Parked -> "park"
  | Supervisor.Escalated -> "escalate"
  | Supervisor.Left -> "leave"
  | Supervisor.Ended -> "end"

let supervise how intensity period parks k is_fatal order ends =
  let flags = { Supervisor.how = strategy how; intensity = int_of_string intensity;
                period = int_of_string period; parks = parks = "1" } in
  let child = { Supervisor.c_kind = kind k; c_fatal = is_fatal = "1" } in
  let state = ref Supervisor.rested in
  let one text = match fields ':' text with
    | [id; time; why] ->
        let d, next = Supervisor.on_exit flags (numbers order) child !state (int_of_string id)
            (int_of_string time) (reason why) in
        state := next; shown_decision d
    | _ -> failwith text in
  S.concat "|" (L.map one (items ';' ends))

(* ------------------------------------------------------------------------------------------------- *)

let rest line = match S.index_opt line ' ' with
  | Some i -> S.sub line (i + 1) (S.length line - i - 1)
  | None -> ""

let answer line =
  match words ' ' line with
  | "life" :: _ -> life (rest line)
  | "gate" :: _ -> gate (rest line)
  | ["journal"; size; undo; subjects; chances] ->
      let of_step = Array.of_list (numbers subjects) in
      journal (int_of_string size) (undo = "1") (fun k -> of_step.(k))
        (if chances = "." then [] else L.init (S.length chances) (fun i -> chance chances.[i]))
  | ["tree"; n] -> tree (int_of_string n)
  | ["threshold"; now; adopted; keys; groups; revoked; attestations] ->
      threshold now adopted keys groups revoked attestations
  | ["supervise"; how; intensity; period; parks; k; is_fatal; order; ends] ->
      supervise how intensity period parks k is_fatal order ends
  | _ -> failwith "what?"

let () =
  try
    while true do
      let line = input_line stdin in
      print_endline (try answer line with Failure why -> "error " ^ why | Not_found -> "error not found")
    done
  with End_of_file -> ()
