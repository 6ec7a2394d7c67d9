"""The ledger's promises: intent before outcome, silence when nothing changed, and a way back to what was there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

OBSERVE = (Path(__file__).parents[3] / "roles/ledger/files/observe.sh").read_text()
RunModule = Callable[..., dict[str, Any]]


class Host:
    """One role on one host, in a folder."""

    def __init__(self, run: RunModule, folder: Path) -> None:
        self._run, self.root = run, folder / "ledger"
        self.etc = folder / "etc"
        self.etc.mkdir()
        self.items = [f"file|{self.etc}/made/own.conf", f"file|{self.etc}/theirs.conf", f"file|{self.etc}/made"]

    def call(self, state: str, inputs: str = "i1", **more: Any) -> dict[str, Any]:
        answer = self._run(
            "arena_ledger",
            state=state,
            role="demo",
            inputs=inputs,
            items=self.items,
            observe=OBSERVE,
            root=str(self.root),
            **more,
        )
        assert "failed" not in answer, answer
        return answer

    def record(self) -> dict[str, str]:
        text = (self.root / "roles/demo/record").read_text()
        return dict(line.split("=", 1) for line in text.splitlines())

    def change(self) -> None:
        (self.etc / "made").mkdir(exist_ok=True)
        (self.etc / "made/own.conf").write_text("ours\n")
        (self.etc / "theirs.conf").write_text("ours now\n")


@pytest.fixture
def host(run_module: RunModule, tmp_path: Path) -> Host:
    made = Host(run_module, tmp_path)
    (made.etc / "theirs.conf").write_text("theirs\n")
    (made.etc / "theirs.conf").chmod(0o640)
    return made


def converge(host: Host, inputs: str = "i1") -> tuple[bool, bool]:
    began = host.call("begin", inputs)["changed"]
    host.change()
    return began, host.call("end", inputs)["changed"]


def test_intent_is_written_before_outcome_after(host: Host) -> None:
    host.call("begin")
    assert host.record()["status"] == "intent"
    host.change()
    host.call("end")
    assert host.record() | {"at": ""} == {"role": "demo", "status": "done", "inputs": "i1", "at": ""}
    items = (host.root / "roles/demo/items").read_text().splitlines()
    assert [line.rsplit("|", 1)[0] for line in items] == host.items
    assert (host.root / "roles/demo").stat().st_mode & 0o777 == 0o700


def test_a_second_run_changes_nothing_not_even_the_time(host: Host) -> None:
    assert converge(host) == (True, True)
    first = host.record()
    assert converge(host) == (False, False)
    assert host.record() == first


def test_a_run_by_hand_keeps_the_recorded_digest(host: Host) -> None:
    converge(host, "i1")
    assert converge(host, "") == (False, False)
    assert host.record()["inputs"] == "i1"


def test_new_inputs_are_a_change(host: Host) -> None:
    converge(host, "i1")
    assert converge(host, "i2") == (False, True)
    assert host.record()["inputs"] == "i2"


def test_a_run_that_died_leaves_its_intent_and_the_next_one_ends_it(host: Host) -> None:
    converge(host)
    host.call("begin")
    (host.etc / "theirs.conf").write_text("half\n")
    assert host.record()["status"] == "intent"
    assert host.call("begin")["changed"] is False
    assert host.call("end")["changed"] is True
    assert host.record()["status"] == "done"


@pytest.mark.skipif(os.getuid() != 0, reason="owners are root's to change")
def test_modes_and_owners_are_put_back_when_a_role_begins(host: Host) -> None:
    converge(host)
    own, folder = host.etc / "made/own.conf", host.etc / "made"
    own.chmod(0o600)
    os.chown(folder, 1, 1)
    assert host.call("begin", check=True)["changed"] is True
    assert own.stat().st_mode & 0o777 == 0o600
    assert converge(host) == (True, False)
    assert own.stat().st_mode & 0o777 == 0o644 and folder.stat().st_uid == 0


def test_what_a_role_does_not_put_back_is_recorded_anew_and_named(host: Host) -> None:
    host.items.append(f"file|{host.etc}/secret")
    (host.etc / "secret").write_text("made once")
    converge(host)
    (host.etc / "secret").write_text("other")
    host.call("begin")
    host.change()
    answer = host.call("end")
    assert answer["changed"] is True and answer["recorded_anew"] == [f"file {host.etc}/secret"]
    host.call("begin")
    host.change()
    assert host.call("end")["recorded_anew"] == []


def test_with_new_inputs_modes_are_put_back_too_and_nothing_is_named(host: Host) -> None:
    converge(host)
    (host.etc / "theirs.conf").chmod(0o600)
    host.call("begin", "i2")
    assert (host.etc / "theirs.conf").stat().st_mode & 0o777 == 0o640
    (host.etc / "theirs.conf").write_text("as i2 wants it")
    assert host.call("end", "i2")["recorded_anew"] == []


def test_reset_restores_what_was_there_and_removes_what_was_not(host: Host) -> None:
    converge(host)
    answer = host.call("reset")
    assert answer["changed"] is True
    assert (host.etc / "theirs.conf").read_text() == "theirs\n"
    assert (host.etc / "theirs.conf").stat().st_mode & 0o777 == 0o640
    assert not (host.etc / "made").exists()
    assert not (host.root / "roles/demo").exists()
    assert host.call("reset")["changed"] is False


def test_reset_after_a_run_that_never_ended(host: Host) -> None:
    host.call("begin")
    host.change()
    host.call("reset")
    assert (host.etc / "theirs.conf").read_text() == "theirs\n"
    assert not (host.etc / "made").exists()


def test_reset_keeps_what_others_put_into_our_folder(host: Host) -> None:
    converge(host)
    (host.etc / "made/foreign").write_text("")
    host.call("reset")
    assert [path.name for path in (host.etc / "made").iterdir()] == ["foreign"]


def test_reset_removes_what_came_and_changed_by_right_but_not_what_was_there(host: Host) -> None:
    (host.etc / "old").mkdir()
    host.items += [f"path|{host.etc}/old", f"path|{host.etc}/deep/new"]
    converge(host)
    for name in ("old/kept", "deep/new/state"):
        (host.etc / name).parent.mkdir(parents=True, exist_ok=True)
        (host.etc / name).write_text("of others' making\n")
    host.call("reset")
    assert (host.etc / "old/kept").exists()
    assert not (host.etc / "deep").exists()


def test_drop_removes_what_came_since_and_nothing_else(host: Host) -> None:
    (host.etc / "old").mkdir()
    leaves = [f"path|{host.etc}/old", f"path|{host.etc}/deep/new"]
    host.items += leaves
    converge(host)
    record = host.record()
    (host.etc / "deep/new").mkdir(parents=True)
    (host.etc / "deep/new/state").write_text("")
    host.items = [*leaves, f"path|{host.etc}/never-recorded"]
    (host.etc / "never-recorded").mkdir()
    assert host.call("drop", check=True)["restored"] == [f"path {host.etc}/deep/new"]
    assert host.call("drop")["changed"] is True
    assert sorted(path.name for path in host.etc.iterdir()) == ["made", "never-recorded", "old", "theirs.conf"]
    assert host.call("drop")["changed"] is False
    assert host.record() == record


def test_a_role_that_is_about_to_go_says_so_until_it_comes_back(host: Host) -> None:
    converge(host)
    assert host.call("leave", roles=["demo", "no-such-role"])["changed"] is True
    assert host.record()["status"] == "leaving" and host.record()["inputs"] == "i1"
    assert host.call("leave", roles=["demo"])["changed"] is False
    assert not (host.root / "roles/no-such-role").exists()
    assert converge(host) == (True, True)
    assert host.record()["status"] == "done"


def test_the_last_role_takes_the_whole_ledger_along(host: Host) -> None:
    converge(host)
    (host.root / "roles/other").mkdir()
    (host.root / "cluster.json").write_text("{}")
    host.call("reset")
    assert sorted(path.name for path in host.root.iterdir()) == ["backup", "cluster.json", "roles"]
    (host.root / "roles/other").rmdir()
    converge(host)
    host.call("reset")
    assert not host.root.exists()


def test_the_backup_is_the_first_state_not_a_later_one(host: Host) -> None:
    converge(host)
    (host.etc / "theirs.conf").write_text("drifted\n")
    converge(host)
    host.call("reset")
    assert (host.etc / "theirs.conf").read_text() == "theirs\n"


def test_check_mode_writes_nothing(host: Host) -> None:
    assert host.call("begin", check=True)["changed"] is True
    assert not host.root.exists()


@pytest.mark.skipif(os.getuid() != 0, reason="sysctls are root's")
def test_a_reset_without_a_record_touches_nothing(host: Host) -> None:
    before = sorted(path.name for path in host.etc.iterdir())
    assert host.call("reset")["changed"] is False
    assert sorted(path.name for path in host.etc.iterdir()) == before
