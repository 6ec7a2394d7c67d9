"""A machine with simulated GPUs in a temporary folder: the stand-in compiled once, a state file, and device nodes that
are plain files (ARENA_GPUSIM_DEV). NVML clients run as processes of their own, because the loader reads
LD_LIBRARY_PATH only at their start."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

SOURCE = Path(__file__).parents[3] / "roles" / "nvidia_driver" / "files" / "simulated"
VERSION = "580.95.05"


@dataclass(frozen=True)
class Machine:
    """root/{bin,lib} hold the stand-in, root/dev the nodes, state is the state file."""

    root: Path

    @property
    def state(self) -> Path:
        return self.root / "state"

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "LD_LIBRARY_PATH": str(self.root / "lib"),
            "PATH": f"{self.root / 'bin'}:{os.environ['PATH']}",
            "ARENA_GPUSIM_STATE": str(self.state),
            "ARENA_GPUSIM_DEV": str(self.root / "dev"),
        }

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=False, timeout=30
        )

    def gpusim(self, *arguments: str) -> None:
        done = self.run("gpusim", *arguments)
        assert done.returncode == 0, done.stderr

    def smi(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run("nvidia-smi", *arguments)

    def start(self, code: str) -> subprocess.Popen[str]:
        """Start Python on `code` with pynvml imported as n; what it gives to say() comes out as JSON lines."""
        prelude = "import json, pynvml as n\ndef say(x): print(json.dumps(x), flush=True)\n"
        return subprocess.Popen(
            [sys.executable, "-c", prelude + code], env=self.environment, stdout=subprocess.PIPE, text=True
        )

    def ask(self, code: str) -> Any:
        """The last thing that `code` says."""
        process = self.start(code)
        out, _ = process.communicate(timeout=30)
        assert process.returncode == 0, f"exit {process.returncode}: {out}"
        return json.loads(out.splitlines()[-1])


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not (shutil.which("cc") and shutil.which("make")):
        pytest.skip("no C compiler (cc, make) on this machine")
    folder = tmp_path_factory.mktemp("gpusim")
    wanted = [f"DESTDIR={folder}", f"DRIVER_VERSION={VERSION}", f"TAR={folder}/one.tar", "CFLAGS=-O0", "tar"]
    subprocess.run(["make", "-s", "-j2", "-C", str(SOURCE), *wanted], check=True, timeout=120)
    return folder


@pytest.fixture
def machine(built: Path, tmp_path: Path) -> Machine:
    """Four healthy A100."""
    for name in ("bin", "lib"):
        (tmp_path / name).symlink_to(built / name)
    (tmp_path / "dev").mkdir()
    for node in ("nvidiactl", *(f"nvidia{minor}" for minor in range(4))):
        (tmp_path / "dev" / node).touch()
    made = Machine(tmp_path)
    made.gpusim("init", "count=4")
    return made
