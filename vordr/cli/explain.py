"""What each error means, for a person who is no expert. Pure data, one row per error id.

``vordr explain ERR_X`` prints the whole row; a failing command prints its ``cause`` and, where the error
brings no remedy of its own, its first step.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Explanation(NamedTuple):
    """``cause`` is one line; ``meaning`` a paragraph; ``steps`` what to do, the likeliest first."""

    cause: str
    meaning: str
    steps: tuple[str, ...]


_E = Explanation

EXPLANATIONS: Final[dict[str, Explanation]] = {
    # -- 1, 2 ------------------------------------------------------------------------------------------
    "ERR_GENERAL": _E(
        "something happened that has no error of its own",
        "This is what remains when no other error fits, most often a mistake in Vörðr itself. Containers "
        "that run are not touched by it, and the journal shows what was done before it.",
        ("run the command again with 'vordr --debug …' to see where it happened",
         "look at what was done with 'vordr history'")),
    "ERR_USAGE": _E(
        "the command line or request makes no sense as it stands",
        "An option is unknown, a value is malformed, or two options exclude each other. Nothing was done.",
        ("look at the command's options with 'vordr COMMAND --help'",
         "to give options to the program in the container, put -- before them")),
    # -- 10s -------------------------------------------------------------------------------------------
    "ERR_RUNTIME": _E(
        "a program or the kernel refused a step of running the container",
        "Containers are made by other programs (runc or crun, conmon) and by the kernel. One of them said "
        "no; the evidence holds its own words and the command line, which can be pasted into a shell. What "
        "had been done of the act was taken back.",
        ("check the host with 'vordr doctor'", "run the command shown in the evidence by hand",
         "see how far the act came with 'vordr explain --last'")),
    "ERR_RUNTIME_NOT_FOUND": _E(
        "a program that containers need is not installed",
        "Vörðr uses runc or crun, conmon, skopeo and mkfs.erofs from the distribution. One is not there, or "
        "not in the service's PATH.",
        ("see which one is missing with 'vordr doctor'", "install the package it names")),
    "ERR_RUNTIME_EXEC": _E(
        "the command cannot be run inside the container",
        "Code 127: there is no such file in the container's PATH. Code 126: the file is there but cannot be "
        "executed: it is a folder, lacks the x bit, or was built for another kind of processor.",
        ("look into the image for the command's real path",
         "for a shell try /bin/sh; small images have no bash",
         "check the entrypoint with 'vordr inspect CONTAINER'")),
    "ERR_PRIVILEGE": _E(
        "you may not use the engine of this root folder",
        "Making containers needs root. Others reach the service through its socket, which only root and the "
        "members of group vordr may open.",
        ("use sudo", "or have an administrator add you to group vordr, then log in again",
         "check which root folder you use: --root DIR or VORDR_ROOT")),
    "ERR_SERVICE_UNREACHABLE": _E(
        "no service answers on this root folder's socket",
        "The command line talks to a service that owns the root folder, and starts one when there is none. "
        "It could do neither. Containers go on running without it and are found again when it is back.",
        ("start it in a terminal and read what it says: 'sudo vordr serve'",
         "check the root folder: --root DIR or VORDR_ROOT",
         "whether an act happened is told by 'vordr history' once the service is back")),
    # -- 20s -------------------------------------------------------------------------------------------
    "ERR_NETWORK": _E(
        "a network could not be made or reached",
        "The kernel or a program refused a step of the container's networking.",
        ("check the host with 'vordr doctor'", "use --network none if the container needs no network")),
    # -- 30s -------------------------------------------------------------------------------------------
    "ERR_REGISTRY": _E(
        "the registry did not answer as a registry should",
        "The server could not be reached, speaks another protocol (http instead of https), or has a "
        "certificate that this host does not trust.",
        ("check the name and the network", "for a registry with plain http: 'vordr pull --insecure IMAGE'")),
    "ERR_AUTH": _E(
        "the registry wants credentials, or does not accept those it got",
        "The image is private, does not exist (registries often say 'denied' for both), or the stored "
        "credentials are out of date.",
        ("check the spelling of the image's name",
         "store credentials in the containers auth file, with 'skopeo login REGISTRY'")),
    "ERR_IMAGE_NOT_FOUND": _E(
        "there is no such image here",
        "No image in the store has this name or digest. A name without a tag means the tag 'latest'.",
        ("list what there is: 'vordr images'", "fetch it: 'vordr pull IMAGE'")),
    "ERR_PULL": _E(
        "the image could not be fetched",
        "The registry was reached, but the transfer did not end well, or what came is not what its digest "
        "says. Nothing was kept.",
        ("try again", "check that the tag exists for this host's kind of processor")),
    "ERR_IMAGE_UNREADABLE": _E(
        "the image or package is not what its format says",
        "It is cut off, its bytes do not match a digest, or it holds something that no honest image holds, "
        "such as a path that leads out of it. Nothing of it was kept.",
        ("copy or download the file again and compare its checksum", "ask whoever made it")),
    "ERR_IMAGE_IN_USE": _E(
        "containers still use the image",
        "An image cannot be removed while a container, running or not, is made of it.",
        ("find them: 'vordr ps -a --filter ancestor=IMAGE'", "remove them first: 'vordr rm CONTAINER'")),
    "ERR_STORAGE_FULL": _E(
        "the disk that holds images and containers is full",
        "Neither new layers nor files of containers fit. What was begun has been taken back.",
        ("see what waits in the trash: 'vordr trash ls'",
         "remove images that nothing uses: 'vordr rmi IMAGE'", "or enlarge the disk")),
    # -- 40s -------------------------------------------------------------------------------------------
    "ERR_STATE": _E(
        "the engine's record does not allow this",
        "What was asked does not fit with what the journal knows: a record number beyond its end, or an "
        "object that is not there any more.",
        ("look at 'vordr history'", "check the journal: 'vordr audit --chain'")),
    "ERR_STATE_CORRUPT": _E(
        "the journal does not hold together",
        "Each record is chained to the one before it, and the newest is signed outside the database. "
        "Somewhere this breaks: the disk is failing, a file was restored from an older copy, or somebody "
        "changed the record. Vörðr does not act upon a journal that it cannot trust.",
        ("see where it breaks: 'vordr audit --chain'",
         "keep a copy of the root folder's journal before you do anything else",
         "restore journal/db and journal/head together, from the same backup")),
    "ERR_STATE_LOCKED": _E(
        "another process owns this root folder",
        "One root folder has one owner at a time: the service, or a program that opened it as a library.",
        ("use the service that is running, with the same --root",
         "or end the program that holds it; the evidence names its process")),
    "ERR_STATE_BUSY": _E(
        "another act is under way on the same container or image",
        "Acts on one subject follow each other, so that each can be undone cleanly. kill and inspect are "
        "always possible.",
        ("wait a moment and try again", "see what is running: 'vordr history'")),
    "ERR_STATE_STALE": _E(
        "the world changed between the plan and the act",
        "Somebody else acted on the same container, name or trust store in that moment. Nothing was done.",
        ("look at the state now: 'vordr ps -a'", "try again")),
    "ERR_JOURNAL_FULL": _E(
        "the disk that holds the journal is full",
        "Nothing is done that cannot be recorded. Acts that had begun may finish, from a reserve; new ones "
        "are refused.",
        ("free space on the disk that holds the root folder", "then try again: nothing needs a restart")),
    "ERR_JOURNAL_STOPPED": _E(
        "the journal can no longer be written safely",
        "The disk reported that data did not reach it. After that nobody can know what is stored, so "
        "nothing may act any more. Containers go on running.",
        ("look at the disk's health (dmesg, smartctl)", "start the service again: it recovers the journal")),
    # -- 50s -------------------------------------------------------------------------------------------
    "ERR_POLICY": _E(
        "the policy cannot be applied",
        "The policy file asks for something that Vörðr does not do, or contradicts itself. An unclear "
        "policy refuses everything rather than letting something pass.",
        ("correct the file named in the evidence", "see whom this host trusts: 'vordr trust show'")),
    "ERR_POLICY_DENIED": _E(
        "verification or the operator's policy says no",
        "No process starts from an image that is not vouched for by a key this host trusts, with entries in "
        "enough public logs. The evidence names the code and the step. If it speaks of a scope, the caller "
        "lacks a permission instead.",
        ("see each step: 'vordr verify IMAGE'",
         "to vouch for the image yourself: 'vordr adopt IMAGE' (the record then says that you did)",
         "see whom this host trusts: 'vordr trust show'")),
    "ERR_SEAL_BROKEN": _E(
        "a layer on the disk is not the bytes that were verified",
        "Each layer is sealed into a file whose checksum is journalled. The file was changed after that, by "
        "a failing disk or by somebody. It is never used; it is made anew from the verified blob.",
        ("try again: the layer has been made anew",
         "if it happens again, check the disk, and who may write to the root folder",
         "the anomaly is in 'vordr history'")),
    "ERR_TRUST_STORE": _E(
        "the trust store is missing or cannot be read",
        "The trust store names the keys and logs that this host believes. Without it nothing can be "
        "verified, so nothing starts.",
        ("make keys, logs and a trust store for yourself: 'vordr trust init'",
         "look at what is there: 'vordr trust show'")),
    "ERR_KEY": _E(
        "a private key cannot be used",
        "A key file is missing, damaged, locked with a passphrase that was not given or is wrong, or can be "
        "read by others. Nothing was signed.",
        ("give the passphrase: --passphrase, or --passphrase-file FILE",
         "let only its owner read the key file named in the message: 'chmod 600 FILE'",
         "if there are no keys yet: 'vordr trust init'")),
    "ERR_VERDICTS_LAPSED": _E(
        "containers run whose image would be refused if they were started now",
        "A key was revoked or has expired, the policy was tightened, an image was taken back, or its files "
        "are gone. That stops the next start, and no process that runs; 'vordr audit --verdicts' names the "
        "containers, and says why.",
        ("see each of them, and what mends it: 'vordr audit --verdicts'",
         "stop what you do not want to go on: 'vordr stop CONTAINER'",
         "see each step for an image: 'vordr verify IMAGE'")),
    # -- 60s -------------------------------------------------------------------------------------------
    "ERR_CONFIG": _E(
        "the configuration cannot be used",
        "A configuration file could not be read, or does not fit together.",
        ("correct the file named in the evidence", "check the host with 'vordr doctor'")),
    "ERR_CONFIG_PARSE": _E(
        "a configuration file is not valid TOML or JSON",
        "The evidence names the file and the place where reading stopped.",
        ("correct that line: often a quote or a bracket is missing",)),
    "ERR_CONFIG_INVALID": _E(
        "a configuration file holds a key or value that is not known",
        "Unknown keys are refused, because a misspelt one would otherwise be ignored silently.",
        ("correct the key named in the evidence", "leave the key out to get the default")),
    # -- 70s -------------------------------------------------------------------------------------------
    "ERR_CONTAINER": _E(
        "the container cannot do this",
        "The container is there, but something about it stands in the way; the message says what.",
        ("look at it: 'vordr inspect CONTAINER'", "see what happened to it: 'vordr history CONTAINER'")),
    "ERR_CONTAINER_NOT_FOUND": _E(
        "there is no such container",
        "No container has this name or an id that begins so; or several do. Removed containers wait in the "
        "trash for a while.",
        ("list all of them: 'vordr ps -a'", "look into the trash: 'vordr trash ls'")),
    "ERR_ILLEGAL_TRANSITION": _E(
        "the container's state does not allow this operation",
        "Containers are created, running, paused or stopped, and each operation is possible in some of "
        "these states only. The message says which are possible now. Nothing was done.",
        ("see its state: 'vordr ps -a'", "bring it into another state first: start, stop, pause, unpause")),
    "ERR_CONTAINER_RUNNING": _E(
        "the container is running, and this is only possible when it is not",
        "A running container can be neither started again nor removed.",
        ("stop it first: 'vordr stop CONTAINER'", "or remove it at once: 'vordr rm -f CONTAINER'")),
    "ERR_CONTAINER_STOPPED": _E(
        "the container is not running, and this is only possible when it is",
        "Its process has ended, or was never started.",
        ("start it: 'vordr start CONTAINER'", "see why it ended: 'vordr logs CONTAINER'")),
    "ERR_NAME_IN_USE": _E(
        "another container has this name",
        "A name belongs to one container at a time, running or not. Removing a container frees its name.",
        ("choose another --name", "or remove or look at its holder: 'vordr inspect NAME'")),
    # -- 80s -------------------------------------------------------------------------------------------
    "ERR_UNDO": _E(
        "the act cannot be undone",
        "Some acts have no way back, such as withdrawing trust in a key; the message says which and why.",
        ("see what would happen: 'vordr undo --dry-run'", "see what can be undone: 'vordr history'")),
    "ERR_UNDO_NOTHING": _E(
        "there is nothing to undo",
        "'vordr undo' takes back your own newest act that still stands. You have none, or all have been "
        "undone; acts of others are named explicitly.",
        ("list the acts: 'vordr history'", "undo a certain one: 'vordr undo TXN'")),
    "ERR_UNDO_BLOCKED": _E(
        "later acts, or somebody else's claim, stand in the way",
        "What was done later depends on this act, or a name it freed is held by another container now. The "
        "evidence names them.",
        ("take the later acts back too: 'vordr undo TXN --cascade'",
         "or free the name first: rename or remove its holder")),
    "ERR_UNDO_PARTIAL": _E(
        "the undo ran, but not everything is as it was",
        "The state it reached differs from the one the journal promised. The evidence lists what came back "
        "and what did not.",
        ("read the steps: 'vordr explain --last'", "take the undo itself back: 'vordr redo'")),
    "ERR_UNDO_EXPIRED": _E(
        "what the undo needs has left the trash",
        "Removed files are kept until a deadline, or until the trash was emptied. They are gone.",
        ("see what is still there: 'vordr trash ls'", "make the container anew: 'vordr run …'")),
    # -- 90s -------------------------------------------------------------------------------------------
    "ERR_SUPERVISION": _E(
        "a part of the engine is not as it should be",
        "The engine is made of parts that watch each other and are started again when they fail. "
        "Containers are not touched by that.",
        ("look at the parts: 'vordr doctor'", "try again in a moment")),
    "ERR_ACTOR_DEAD": _E(
        "the part of the engine that should do this is not running",
        "It failed and is being started again, or has been given up.",
        ("try again in a moment", "look at the parts: 'vordr doctor'")),
    "ERR_DEADLINE": _E(
        "a part of the engine did not answer in time",
        "It may be slow (a busy disk) or hang. The act may still happen; the journal will tell.",
        ("see whether it happened: 'vordr history'", "look at the parts: 'vordr doctor'")),
    "ERR_INBOX_FULL": _E(
        "the engine has more to do than it can take on",
        "Rather than letting work pile up without bound, it refuses some.",
        ("try again in a moment, with fewer requests at a time",)),
    "ERR_PARKED": _E(
        "the container failed too often and is left alone",
        "After many failures in a short time the engine stops trying, so that one bad container does not "
        "harm the others. Its process, if it runs, goes on.",
        ("see why: 'vordr inspect CONTAINER' and 'vordr history CONTAINER'",
         "have it supervised again: 'vordr wake CONTAINER'")),
    "ERR_FENCED": _E(
        "a part of the engine that had been given up tried to act",
        "It did not stop in time when it should have, and another has taken its place. What it sends now is "
        "not accepted, so that nothing is done twice.",
        ("try again", "look at the parts: 'vordr doctor'")),
    "ERR_CHILD_START": _E(
        "a part of the engine could not be started",
        "Parts are started in order; one failed, and those before it were stopped again.",
        ("the message says which part and why", "check the host with 'vordr doctor'")),
}

VERIFICATION_CODES: Final[dict[str, Explanation]] = {
    "MISSING_ATTESTATION": _E(
        "nobody vouches for the image",
        "There are no attestations for it, neither in a package nor beside it in the registry. Most public "
        "images are like this.",
        ("vouch for it yourself: 'vordr adopt IMAGE'", "or get a signed package of it from its publisher")),
    "MALFORMED_BUNDLE": _E(
        "the attestations cannot be read",
        "The bundle is not valid, is too large, or holds something twice. It was not looked at further.",
        ("get the package or bundle again from its publisher",)),
    "SUBJECT_MISMATCH": _E(
        "the attestations speak of another image",
        "They are for other bytes than those of this image: the image was changed after signing, or the "
        "attestations were taken from elsewhere.",
        ("compare the digests shown by 'vordr verify IMAGE'", "do not run it before you know why")),
    "UNKNOWN_KEY": _E(
        "the signer is not one that this host trusts",
        "The signature names a key that is not in the trust store, or was revoked.",
        ("see whom this host trusts: 'vordr trust show'",
         "trust the key, once its owner confirmed it: 'vordr trust add KEY.pem'")),
    "EXPIRED_KEY": _E(
        "the signer's key had expired",
        "The key is in the trust store, but its time is over.",
        ("ask the publisher for attestations by a current key",)),
    "KEY_NOT_YET_VALID": _E(
        "the signer's key is not valid yet",
        "The key's time has not begun. The clock of this host may be wrong.",
        ("check the date of this host", "wait until the key is valid")),
    "INVALID_SIGNATURE": _E(
        "a signature does not fit what it signs",
        "The statement was changed after signing, or the signature was not made by the key it names.",
        ("do not run the image", "get it again from its publisher")),
    "INSUFFICIENT_LOG_COVERAGE": _E(
        "the attestation is in too few logs",
        "An attestation must stand in at least two logs, so that nobody can show it to you alone.",
        ("ask the publisher to enter it into another log",)),
    "LOG_PROOF_INVALID": _E(
        "a log's proof does not hold",
        "The proof that a log holds the attestation does not compute, or the log's signature is wrong.",
        ("do not run the image", "get the attestations again")),
    "THRESHOLD_NOT_MET": _E(
        "too few of the trusted keys signed",
        "The policy wants several distinct signers; fewer have signed.",
        ("see how many are needed: 'vordr trust show'", "ask for the missing signatures",
         "to vouch together: 'vordr adopt --draft FILE IMAGE', then 'vordr sign FILE' by each")),
}


def explanation_of(word: str) -> tuple[str, Explanation] | None:
    """The row of an error id or verification code, however it is spelt; None when there is none."""
    name = word.strip().upper().replace("-", "_")
    for candidate in (name, f"ERR_{name}"):
        for table in (EXPLANATIONS, VERIFICATION_CODES):
            if candidate in table:
                return candidate, table[candidate]
    return None
