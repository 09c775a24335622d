"""Handlers of the operations on containers: read what stands, make a plan, let it be performed."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

import msgspec

from vordr.actors.recovery import Recovery
from vordr.actors.sides import EXEC, SIGNAL
from vordr.actors.transaction import Finished, Plan
from vordr.engine.authority import authorise_process
from vordr.engine.finding import (
    all_containers,
    at_rest,
    container_by_id,
    find_container,
    find_image,
    image_by_digest,
)
from vordr.engine.handlers.filters import keep
from vordr.engine.handlers.naming import free_name
from vordr.engine.handlers.ranges import free_range
from vordr.engine.host import Call, Host, receipt
from vordr.engine.intake import bring_in, pull_image
from vordr.engine.judging import check_network, start_verdict
from vordr.engine.library import shown
from vordr.engine.protocol import Reply
from vordr.model import answers, arguments
from vordr.model.errors import (
    ContainerNotFound,
    ContainerStopped,
    ImageNotFound,
    NameInUse,
    PullFailed,
    RegistryDenied,
    RegistryFailed,
    StateError,
    UsageError,
    VordrError,
)
from vordr.model.lifecycle import ROWS, Op, State, illegal
from vordr.model.records import Step, busy_key, head_key, name_key
from vordr.model.spec import (
    LONGEST_STOP,
    ContainerSpec,
    check_environment,
    check_exec,
    check_name,
    check_spec,
    parse_signal,
)
from vordr.model.state import ContainerState, ImageState
from vordr.model.steps import needs_verdict
from vordr.runtime.ociconfig import command_of

# -- create and run --------------------------------------------------------------------------------


def create(host: Host, call: Call, args: arguments.CreateArgs) -> Reply:
    return _create(host, call, args, start=False, attach=False)


def run(host: Host, call: Call, args: arguments.RunArgs) -> Reply:
    return _create(host, call, args, start=True, attach=args.attach)


def _create(
    host: Host, call: Call, args: arguments.CreateArgs, *, start: bool, attach: bool
) -> Reply:
    if args.name is not None:
        check_name(args.name)
        _refuse_taken(host, args.name)
    image = _image(host, call, args)
    check_network(host, args.network)
    container = secrets.token_hex(32)
    spec = _spec(args, {})
    check_spec(spec)
    check_environment(args.environment)
    command_of(spec, image.config)  # refuses an image without a command before anything is written
    digests = host.secrets.put(container, args.environment) if args.environment else {}
    spec = msgspec.structs.replace(spec, environment=digests)

    def plan() -> Plan:
        verdict = host.library.judge_manifest(image.manifest)
        name = args.name or free_name(host.journal)
        ids, range_condition = free_range(host.journal, container)
        state = ContainerState(
            id=container, name=name, image=image.manifest, image_name=shown(image), spec=spec,
            state=State.CREATED, ids=ids, arguments=tuple(command_of(spec, image.config)))
        subject = f"container/{container}"
        steps = [Step(subject=subject, operation=str(Op.CREATE),
                      args={"container": msgspec.to_builtins(state)})]
        if start:
            steps.append(Step(subject=subject, operation=str(Op.START), args={"generation": 1}))
        act = "run" if start else "create"
        return Plan(
            act, f"{act} {name} from {shown(image)}", tuple(steps), call.caller.principal,
            verdicts={image.manifest: verdict}, attach=attach,
            conditions={name_key(name): None, **range_condition,
                        f"images/{image.manifest}": host.journal.get(f"images/{image.manifest}"),
                        # An act that is taking the image away must be over before a container counts on it.
                        busy_key(f"image/{image.manifest}"): None})

    try:
        finished = _run_named(host, plan, chosen=args.name is None)
    except VordrError as error:
        if _never_was(host, container):
            host.secrets.delete(container)  # it keeps no secret, not even in the trash
        raise name_taken(host, args.name) if isinstance(error, NameInUse) and args.name else error
    return _answer(host, finished, container)


def _never_was(host: Host, container: str) -> bool:
    """Whether no act has made the container, nor may turn out to have; the next opening sweeps the rest."""
    if host.journal.ended:
        return False  # what it could not sync may be there all the same
    held = host.journal.get(busy_key(f"container/{container}"))
    return held is None and container_by_id(host.journal, container) is None


def _run_named(host: Host, plan: Callable[[], Plan], *, chosen: bool) -> Finished:
    """Run ``plan``; where we chose the name ourselves, somebody else's taking it means to choose again."""
    while True:
        try:
            return host.transactions.run(plan)
        except NameInUse:
            if not chosen:
                raise


def _refuse_taken(host: Host, name: str) -> None:
    """Refuse early what cannot be; a name that an act under way may still release is worth waiting for."""
    under_way = host.journal.get(busy_key(name_key(name))) is not None
    if host.journal.get(name_key(name)) is not None and not under_way:
        raise name_taken(host, name)


def name_taken(host: Host, name: str | None) -> NameInUse:
    holder = host.journal.get(name_key(name or ""))
    return NameInUse(
        f"the name {name!r} is in use by container {str(holder)[:12]}",
        remedy=f"vordr rm {name}, or choose another --name", details={"name": name, "holder": holder})


def _image(host: Host, call: Call, args: arguments.CreateArgs) -> ImageState:
    """The verified image that the arguments name, brought into the store if it comes as a package."""
    if args.package:
        if not call.files:
            raise UsageError("a package must come with its open file")
        with host.library.coming.shared():
            incoming = host.library.open_package(call.files[0], args.image, call.progress)
            bring_in(host, call, incoming, f"import {shown(incoming.image)}")
        return incoming.image
    return _stored_image(host, call, args)


def _stored_image(host: Host, call: Call, args: arguments.CreateArgs) -> ImageState:
    """The image of the store that a reference names, pulled before if ``--pull`` says so."""
    if args.pull not in ("never", "missing", "always"):
        raise UsageError(f"unknown pull policy {args.pull!r}", remedy="one of: never, missing, always")
    if args.pull != "always":
        try:
            return find_image(host.journal, args.image)
        except ImageNotFound as missing:
            if args.pull == "never":
                raise
            return _fetched(host, call, args.image, missing)
    return image_by_digest(host.journal, pull_image(host, call, args.image)[0])


def _fetched(host: Host, call: Call, given: str, missing: ImageNotFound) -> ImageState:
    """The image from its registry; where that has nothing to give, it is missing, and that is why."""
    try:
        manifest, _ = pull_image(host, call, given)
    except (RegistryFailed, RegistryDenied, PullFailed, ImageNotFound) as error:
        raise ImageNotFound(
            missing.message, remedy=missing.remedy, details={**missing.details, "pull": error.message},
        ) from error
    return image_by_digest(host.journal, manifest)


def _spec(args: arguments.CreateArgs, environment: dict[str, str]) -> ContainerSpec:
    return ContainerSpec(
        command=args.command, entrypoint=args.entrypoint, environment=environment, workdir=args.workdir,
        user=args.user, hostname=args.hostname, tty=args.tty, stdin=args.stdin, read_only=args.read_only,
        init=args.init, memory=args.memory, cpu_millis=args.cpu_millis, pids_limit=args.pids_limit,
        network=args.network, restart=args.restart, auto_remove=args.auto_remove, labels=args.labels,
        stop_signal=args.stop_signal, stop_timeout=args.stop_timeout)


# -- steps on one container ------------------------------------------------------------------------


def start(host: Host, call: Call, args: arguments.StartArgs) -> Reply:
    def steps(container: ContainerState) -> tuple[Step, ...]:
        return (_start_step(container),)

    return _act(host, call, args.container, "start", steps, attach=args.attach)


def _start_step(container: ContainerState) -> Step:
    return _step(container, Op.START, {"generation": container.next_generation})


def stop(host: Host, call: Call, args: arguments.StopArgs) -> Reply:
    def steps(container: ContainerState) -> tuple[Step, ...]:
        return (_stop_step(host, container, args.timeout), *_removal(container))

    return _act(host, call, args.container, "stop", steps)


def _removal(container: ContainerState) -> tuple[Step, ...]:
    """What follows when the process of a ``--rm`` container is made to end, in the same act."""
    return (_step(container, Op.REMOVE, {}),) if container.spec.auto_remove else ()


def _stop_step(host: Host, container: ContainerState, timeout: int | None) -> Step:
    image = host.journal.get(f"images/{container.image}")
    wanted = container.spec.stop_signal or (image or {}).get("config", {}).get("stop_signal") or "TERM"
    patience = container.spec.stop_timeout if timeout is None else timeout
    if not 0 <= patience <= LONGEST_STOP:
        raise UsageError(f"the time to wait must be from 0 to {LONGEST_STOP} seconds")
    return _step(container, Op.STOP, {"signal": parse_signal(wanted), "timeout": patience})


def restart(host: Host, call: Call, args: arguments.StopArgs) -> Reply:
    def steps(container: ContainerState) -> tuple[Step, ...]:
        alive = container.state in (State.RUNNING, State.PAUSED)
        before = (_stop_step(host, container, args.timeout),) if alive else ()
        return (*before, _start_step(container))

    return _act(host, call, args.container, "restart", steps)


def pause(host: Host, call: Call, args: arguments.ContainerArgs) -> Reply:
    return _act(host, call, args.container, "pause", lambda c: (_step(c, Op.PAUSE, {}),))


def resume(host: Host, call: Call, args: arguments.ContainerArgs) -> Reply:
    return _act(host, call, args.container, "resume", lambda c: (_step(c, Op.RESUME, {}),))


def remove(host: Host, call: Call, args: arguments.RemoveArgs) -> Reply:
    def steps(container: ContainerState) -> tuple[Step, ...]:
        alive = container.state in (State.RUNNING, State.PAUSED)
        kill = (_kill_step(container),) if alive and args.force else ()
        return (*kill, _step(container, Op.REMOVE, {}))

    return _act(host, call, args.container, "remove", steps)


def kill(host: Host, call: Call, args: arguments.KillArgs) -> Reply:
    number = parse_signal(args.signal)
    container = find_container(host.journal, args.container)
    busy = host.journal.get(busy_key(f"container/{container.id}")) is not None
    if number == 9 and not busy:
        return _act(host, call, args.container, "kill", lambda c: (_kill_step(c), *_removal(c)))
    return _signal(host, call, container, number)


def _kill_step(container: ContainerState) -> Step:
    return _step(container, Op.KILL, {"signal": 9, "timeout": 0})


def _signal(host: Host, call: Call, container: ContainerState, number: int) -> Reply:
    """Deliver a signal beside whatever else is done to the container; it has no inverse."""
    if container.state not in (State.RUNNING, State.PAUSED):
        raise illegal(Op.KILL, container.state, container.name)
    step = Step(subject=f"container/{container.id}", operation=SIGNAL, args={"signal": number})
    plan = Plan(
        SIGNAL, f"signal {number} to {container.name}", (step,), call.caller.principal, holds=False,
        reversible=False)
    return _answer(host, host.transactions.run(lambda: plan), container.id)


def _step(container: ContainerState, op: Op, args: dict[str, Any]) -> Step:
    return Step(subject=f"container/{container.id}", operation=str(op), args=args)


def _act(
    host: Host, call: Call, given: str, act: str, steps: Callable[[ContainerState], tuple[Step, ...]], *,
    attach: bool = False,
) -> Reply:
    """Perform ``steps`` of the container that ``given`` names, if the lifecycle table allows the first."""
    container_id = find_container(host.journal, given).id
    head = head_key(f"container/{container_id}")

    def plan() -> Plan:
        conditions = {head: host.journal.get(head)}  # before what is read under it
        container = at_rest(host.journal, container_id)
        if container is None or container.state is State.REMOVED:
            # Whoever has the name by now is not the one that was meant.
            raise ContainerNotFound(
                f"no container is called {given!r} any more", details={"container": given})
        planned = steps(container)
        check_allowed(container, planned)
        verdicts = {}
        if any(needs_verdict(step) for step in planned):
            authorise_process(act, container.spec, call.caller)
            verdicts = {container.image: start_verdict(host, container)}
        return Plan(
            act, f"{act} {container.name}", planned, call.caller.principal, attach=attach,
            verdicts=verdicts, conditions=conditions)

    return _answer(host, host.transactions.run(plan), container_id)


def check_allowed(container: ContainerState, planned: tuple[Step, ...]) -> None:
    """Raise IllegalTransition unless the first step may be taken now: then nothing is journalled."""
    op = Op(planned[0].operation)
    if container.state not in ROWS[op].sources:
        raise illegal(op, container.state, container.name)


def _answer(host: Host, finished: Finished, container_id: str) -> Reply:
    container = container_by_id(host.journal, container_id)
    assert container is not None
    files = () if finished.attach is None else (finished.attach,)
    answer = answers.ContainerAnswer(
        container=container, receipt=receipt(finished), attach=finished.attach is not None)
    return Reply(answer, files)


# -- exec ------------------------------------------------------------------------------------------


def execute(host: Host, call: Call, args: arguments.ExecArgs) -> Reply:
    if not args.command:
        raise UsageError("exec needs a command", remedy="vordr exec CONTAINER COMMAND [ARG…]")
    container = find_container(host.journal, args.container)
    authorise_process("exec", container.spec, call.caller)
    check_exec(args.command, args.environment, args.user, args.workdir)
    if container.state is not State.RUNNING:
        raise ContainerStopped(
            f"cannot exec: {container.name} is {container.state}", remedy=f"vordr start {container.name}")
    session = secrets.token_hex(32)
    told = {"session": session, "command": list(args.command), "user": args.user, "workdir": args.workdir,
            "environment": sorted(args.environment), "tty": args.tty}
    step = Step(subject=f"container/{container.id}", operation=EXEC, args=told)
    plan = Plan(
        EXEC, f"exec {args.command[0]} in {container.name}", (step,), call.caller.principal, holds=False,
        reversible=False, payload={"exec": args}, attach=not args.detach)
    finished = host.transactions.run(lambda: plan)
    files = () if finished.attach is None else (finished.attach,)
    answer = answers.ExecAnswer(session=session, receipt=receipt(finished), attach=bool(files))
    return Reply(answer, files)


def wake(host: Host, call: Call, args: arguments.ContainerArgs) -> Reply:
    """Supervise a parked container again: its actor, or its restart policy, begins with a clean record,
    and an act that it left half done is ended."""
    container = find_container(host.journal, args.container)
    held = host.journal.get(busy_key(f"container/{container.id}"))
    parked = host.parking.reason(container) is not None
    if parked:
        host.parking.wake(container)
    deserted = held is not None and Recovery(host.journal, host.transactions).end_deserted(held)
    if not parked and not deserted:
        raise StateError(f"{container.name} is not parked", remedy=f"vordr inspect {container.name}")
    return Reply(answers.Empty())


def listed(host: Host, call: Call, args: arguments.ListArgs) -> Reply:
    alive = (State.RUNNING, State.PAUSED)
    wide = args.all or "status" in args.filters or "exited" in args.filters
    found = [c for c in all_containers(host.journal)
             if (wide or c.state in alive) and keep(c, args.filters)]
    found.sort(key=lambda c: c.created, reverse=True)
    return Reply(answers.ListAnswer(
        containers=tuple(answers.shown(c, host.parking.reason(c)) for c in found)))
