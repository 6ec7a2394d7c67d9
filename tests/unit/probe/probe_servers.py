"""Real sshds for the probe: ordinary child processes on 127.0.0.1, with keys and files of their own."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ME = pwd.getpwuid(os.getuid()).pw_name


def key(path: Path, passphrase: str = "", kind: str = "ed25519") -> Path:
    size = ["-b", "2048"] if kind == "rsa" else []
    subprocess.run(["ssh-keygen", "-q", "-t", kind, *size, "-N", passphrase, "-C", "", "-f", path], check=True)
    return path


@dataclass
class Server:
    """One sshd. `variables` are what a working inventory says of it."""

    folder: Path
    options: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ("ed25519",)
    port: int = 0
    process: subprocess.Popen[bytes] | None = None
    log: Path = field(init=False)

    def start(self) -> None:
        self.folder.mkdir(mode=0o700)
        hosts = [key(self.folder / f"host_{kind}", kind=kind) for kind in self.kinds]
        key(self.folder / "user")
        shutil.copy(self.folder / "user.pub", self.folder / "authorized")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.log = self.folder / "log"
        lines = [
            f"Port {self.port}",
            "ListenAddress 127.0.0.1",
            *(f"HostKey {host}" for host in hosts),
            f"AuthorizedKeysFile {self.folder}/authorized",
            "PidFile none",
            "UsePAM no",
            "StrictModes no",
            "PermitRootLogin prohibit-password",
            "PasswordAuthentication no",
            "AllowTcpForwarding yes",
            *self.options,
            "MaxStartups 100",
        ]
        (self.folder / "config").write_text("\n".join(lines) + "\n")
        self.trust(self.folder / "host_ed25519.pub" if "ed25519" in self.kinds else Path(f"{hosts[0]}.pub"))
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-f", self.folder / "config"], stderr=log)
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        self.stop()
        pytest.skip(f"sshd does not run here: {self.log.read_text(errors='replace')[-300:]}")

    def trust(self, public: Path) -> None:
        (self.folder / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {public.read_text()}")

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(10)

    @property
    def variables(self) -> dict[str, Any]:
        return {
            "ansible_port": self.port,
            "ansible_user": ME,
            "ansible_ssh_private_key_file": str(self.folder / "user"),
            "ansible_ssh_common_args": f"-F /dev/null -o UserKnownHostsFile={self.folder}/known_hosts",
            "ansible_become": "false" if os.getuid() else "true",
        }
