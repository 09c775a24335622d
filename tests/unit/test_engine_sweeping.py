"""What a crash leaves that no record names is gone after the next opening; all else stays."""

from __future__ import annotations

from pathlib import Path

from whole_engine import Whole, planted

NEVER = "f" * 64


def test_secrets_of_a_container_that_never_was_are_gone_after_the_next_opening(memory_path: Path) -> None:
    whole = planted(memory_path / "root")
    live = whole.run(environment={"TOKEN": "kept"})
    removed = whole.run("gone", environment={"TOKEN": "kept too"})
    whole.do("remove", "gone", force=True)
    undone = whole.run("undone", environment={"TOKEN": "for a redo"})
    whole.call("undo")
    whole.host.secrets.put(NEVER, {"TOKEN": "of an act that a crash kept from beginning"})
    (whole.paths.secrets / f"{live.id}.json.new").write_text("half a write")
    whole.close()
    again = Whole(whole.paths.root, whole.world)
    try:
        left = {entry.name for entry in again.paths.secrets.iterdir()}
        assert left == {f"{container.id}.json" for container in (live, removed, undone)}
    finally:
        again.close()


def test_folders_of_work_cut_short_are_gone_after_the_next_opening(memory_path: Path) -> None:
    whole = planted(memory_path / "root")
    whole.close()
    for name in (".pack-x", ".adopt-x", ".trust-init-x"):
        (whole.paths.root / name).mkdir()
        (whole.paths.root / name / "blob").write_text("half")
    again = Whole(whole.paths.root, whole.world)
    try:
        assert not list(again.paths.root.glob(".*"))
    finally:
        again.close()
