"""Playbooks run as real child processes on this machine: events, errors with file and line, and a clean end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from arena_install import paths
from arena_install.apply.ansible import run_playbook
from arena_install.errors import StepError, UnreachableError
from arena_install.events import Event
from arena_install.inventory.cluster import Cluster, Host
from arena_install.inventory.config import Config


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with one role `demo` whose tasks each test writes."""
    (tmp_path / "playbooks").mkdir()
    (tmp_path / "roles/demo/tasks").mkdir(parents=True)
    (tmp_path / "playbooks/ansible.cfg").write_text("[defaults]\n")
    (tmp_path / "playbooks/site.yml").write_text("- hosts: all\n  gather_facts: false\n  roles: [demo]\n")
    monkeypatch.setattr(paths, "data_dir", lambda: tmp_path)
    return tmp_path


def cluster(data: Path, line: str = "here ansible_connection=local") -> Cluster:
    inventory = data / "hosts.ini"
    inventory.write_text(f"[control_plane]\n{line} ansible_python_interpreter={sys.executable}\n")
    name = line.split()[0]
    return Cluster("t", (Host(name, frozenset({"control_plane"}), name, ""),), Config(), inventory)


def tasks(data: Path, text: str) -> None:
    (data / "roles/demo/tasks/main.yml").write_text(textwrap.dedent(text))


def test_changes_are_counted_and_reported(data: Path) -> None:
    tasks(
        data,
        """\
        - name: Demo | Write
          ansible.builtin.copy: {content: "{{ arena_word }} {{ demo_word }}", dest: "{{ arena_target }}", mode: "0600"}
        """,
    )
    target = data / "out"
    events: list[Event] = []
    extra = {"arena_word": "from-extra", "arena_target": str(target)}
    one = run_playbook(cluster(data), "site.yml", extra, {"demo_word": "from-defaults"}, data / "run", events.append)
    two = run_playbook(cluster(data), "site.yml", extra, {"demo_word": "from-defaults"}, data / "run", events.append)
    assert target.read_text() == "from-extra from-defaults"
    assert (one.changed, two.changed) == ({"here": 1}, {})
    assert [(e.kind, e.outcome) for e in events if e.step == "role/demo" and e.kind in ("start", "end")] == [
        ("start", ""),
        ("end", "changed"),
        ("start", ""),
        ("end", "ok"),
    ]
    assert not (data / "run/vars.json").exists()


def test_inventory_wins_over_defaults(data: Path) -> None:
    tasks(
        data,
        """\
        - name: Demo | Write
          ansible.builtin.copy: {content: "{{ demo_word }}", dest: "{{ arena_target }}", mode: "0600"}
        """,
    )
    target = data / "out"
    run_playbook(
        cluster(data, "here ansible_connection=local demo_word=mine"),
        "site.yml",
        {"arena_target": str(target)},
        {"demo_word": "default"},
        data / "run",
        lambda _: None,
    )
    assert target.read_text() == "mine"


def test_failure_names_host_task_file_and_line(data: Path) -> None:
    tasks(
        data,
        """\
        - name: Demo | First
          ansible.builtin.command: "true"
        - name: Demo | Second
          ansible.builtin.command: sh -c 'echo the-reason >&2; exit 7'
        """,
    )
    with pytest.raises(StepError) as caught:
        run_playbook(cluster(data), "site.yml", {}, {}, data / "run", lambda _: None)
    text = str(caught.value)
    assert "host here" in text and "Demo | Second" in text and "the-reason" in text
    assert "roles/demo/tasks/main.yml:3" in text


def test_unreachable_host(data: Path) -> None:
    tasks(data, '- ansible.builtin.command: "true"\n')
    with pytest.raises(UnreachableError) as caught:
        run_playbook(
            cluster(data, "gone ansible_host=127.0.0.1 ansible_port=1"),
            "site.yml",
            {},
            {},
            data / "run",
            lambda _: None,
        )
    assert caught.value.exit_code == 3 and "gone" in str(caught.value)


def test_secrets_censored_by_no_log_stay_out_of_the_run_folder(data: Path) -> None:
    tasks(
        data,
        """\
        - name: Demo | Fail
          ansible.builtin.command: sh -c 'echo s3cr3t-word; exit 1'
          no_log: true
        """,
    )
    with pytest.raises(StepError):
        run_playbook(cluster(data), "site.yml", {}, {}, data / "run", lambda _: None)
    assert not any(b"s3cr3t-word" in path.read_bytes() for path in (data / "run").rglob("*") if path.is_file())


def test_children_die_with_the_parent(data: Path) -> None:
    """kill -9 of the caller ends ansible-playbook too (the kernel tells it), so nothing goes on writing."""
    tasks(data, "- ansible.builtin.command: sleep 60\n")
    cluster(data)
    code = f"""
import arena_install.paths as paths, pathlib
paths.data_dir = lambda: pathlib.Path({str(data)!r})
from arena_install.apply.ansible import run_playbook
from arena_install.inventory.cluster import Cluster, Host
from arena_install.inventory.config import Config
host = Host("here", frozenset(), "here", "")
run_playbook(Cluster("t", (host,), Config(), pathlib.Path({str(data / "hosts.ini")!r})), "site.yml", {{}}, {{}},
             pathlib.Path({str(data / "run")!r}), lambda e: print(e.kind, flush=True))
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": "installer"}
    )
    assert parent.stdout and parent.stdout.readline()  # the role has begun
    children = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(parent.pid)], capture_output=True, text=True, check=True
    )
    child = int(children.stdout.split()[0])
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{child}").exists() and time.monotonic() < deadline:
        if "Z" in Path(f"/proc/{child}/stat").read_text().split(")")[1].split()[:1]:
            break
        time.sleep(0.1)
    else:
        assert not Path(f"/proc/{child}").exists()
