"""probe.sh: the same answer from every shell, nothing written, every answer readable."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from arena_install import paths
from arena_install.probe.parse import parse
from arena_install.probe.runner import SCRIPTS, compose, script

PARTS = [Path(__file__).parents[3] / "installer/arena_install/probe" / name for name in SCRIPTS]
OBSERVE = Path(__file__).parents[3] / "roles/ledger/files/observe.sh"
SHELLS = [["dash"], ["busybox", "sh"], ["bash", "--posix"], ["sh"]]


def run(shell: list[str], text: str) -> str:
    if shutil.which(shell[0]) is None:
        pytest.skip(f"{shell[0]} is not installed")
    sent = text.replace("@NONCE@", "n0nce")
    done = subprocess.run([*shell, "-s"], input=sent, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_every_shell_gives_the_same_facts(shell: list[str]) -> None:
    output = run(shell, script())
    assert output.startswith("@begin n0nce ")
    assert output.endswith("@end n0nce\n")
    facts = parse(output)
    assert facts.cpus >= 1
    assert facts.memory > 100
    assert facts.os.id
    assert facts.arch
    assert facts.disk("/") is not None
    assert facts.disk("/var/lib") is not None
    assert facts.hostname == Path("/proc/sys/kernel/hostname").read_text().strip()
    assert facts.sysctls["kernel.pid_max"] == Path("/proc/sys/kernel/pid_max").read_text().strip()


def test_every_line_is_of_a_known_shape() -> None:
    for line in run(["sh"], script()).splitlines()[1:-1]:
        assert re.match(r"[A-Za-z0-9_.]+[=|]", line), line


def test_a_half_sent_script_does_nothing() -> None:
    text = compose("cat")
    done = subprocess.run(["sh", "-s"], input=text[: len(text) * 2 // 3], capture_output=True, text=True, timeout=20)
    assert "@begin" not in done.stdout


def test_what_roles_recorded_is_read_again(tmp_path: Path) -> None:
    """The script with its ledger's root moved, and the reader that roles use."""
    role = tmp_path / "roles" / "container_runtime"
    role.mkdir(parents=True)
    kept, gone = tmp_path / "kept|odd name", tmp_path / "gone"
    kept.write_text("x")
    kept.chmod(0o640)
    owner = f"{kept.stat().st_uid}:{kept.stat().st_gid}"
    digest = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    (role / "record").write_text("role=container_runtime\nstatus=done\ninputs=abc\nat=2026-01-01T00:00:00Z")
    (role / "items").write_text(f"file|{kept}|{digest} 640 {owner}\nfile|{gone}|{digest} 644 {owner}\nsysctl|no.such|1")
    (tmp_path / "roles" / "bad role|name").mkdir()
    text = compose(OBSERVE.read_text()).replace("/var/lib/arena-install", str(tmp_path))
    for shell in (["dash"], ["busybox", "sh"]):
        record = parse(run(shell, text)).ledger["container_runtime"]
        assert (record.status, record.inputs, record.at) == ("done", "abc", "2026-01-01T00:00:00Z")
        assert [item.name for item in record.items] == [str(kept), str(gone), "no.such"]
        assert [(item.name, item.found) for item in record.drift] == [(str(gone), "absent"), ("no.such", "absent")]


# ---- nothing is written ---------------------------------------------------------------------------------------------

WRITERS = """
    tee mktemp touch mkdir rmdir rm mv cp ln dd install truncate chmod chown chgrp mknod mkfifo sysctl modprobe insmod
    rmmod mount umount swapoff hostname hostnamectl timedatectl systemctl service apt apt-get dpkg nft iptables kill
    pkill reboot useradd usermod tc ethtool
"""


def code(text: str) -> str:
    """Without comments, strings' contents and the patterns of sed, which may hold any character."""
    text = re.sub(r"^\s*#.*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"'[^']*'", "''", text)
    return re.sub(r'"(?:[^"\\]|\\.)*"', lambda match: '""' if ">" in match[0] or "|" in match[0] else match[0], text)


@pytest.mark.parametrize("path", [*PARTS, OBSERVE], ids=lambda path: path.name)
def test_no_redirection_but_to_dev_null(path: Path) -> None:
    for match in re.finditer(r"\d*>+[&|]?\s*(\S*)", code(path.read_text())):
        assert re.match(r"(/dev/null|[12])\b", match[1]), match[0]


@pytest.mark.parametrize("path", [*PARTS, OBSERVE], ids=lambda path: path.name)
def test_no_here_document_and_no_program_that_writes(path: Path) -> None:
    text = code(path.read_text())
    assert "<<" not in text
    start = r"(?:^|[;|&({`]|\b(?:then|do|else|if|while|exec)\b|\bbounded \d+|\btimeout \d+)[ \t]*([a-z][\w-]*)"
    words = set(re.findall(start, text, re.MULTILINE)) | set(re.findall(r"\bcommand ([a-z]+)", text))
    assert {"sed", "grep"} & words  # it does see commands
    # `systemctl show` and `nft list`, which only read
    allowed = {"observe": {"systemctl", "nft"}, "services": {"systemctl"}}.get(path.stem, set())
    assert words & set(WRITERS.split()) <= allowed
    assert not re.search(r"sed[^|\n]* -[a-zA-Z]*i", path.read_text())
    assert not re.search(r"systemctl (?!show)\w|\bnft (?!list)\w", text.replace("command -v nft", ""))


def test_a_look_leaves_no_file(tmp_path: Path) -> None:
    """Run in an empty folder that is HOME, TMPDIR and the working directory at once."""
    before = sorted(tmp_path.rglob("*"))
    subprocess.run(
        ["sh", "-s"],
        input=script(),
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        env={"HOME": str(tmp_path), "TMPDIR": str(tmp_path), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        check=True,
    )
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck() -> None:
    done = subprocess.run(["shellcheck", "-s", "dash", *PARTS], capture_output=True, text=True)
    assert done.stdout == ""


def test_the_reader_is_found_where_it_is_shipped() -> None:
    assert (paths.data_dir() / "roles/ledger/files/observe.sh").read_text().strip() in script()
