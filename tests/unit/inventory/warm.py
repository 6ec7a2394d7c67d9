"""`python -m arena_install` without its start-up time, and Ansible asked once per question.

Two hundred command lines of 0.4 s each, and as many questions to Ansible of 1 s, would be most of the unit suite.
This process imports the program once and forks for each command line, which runs as `python -m arena_install` does
with its own arguments, folder, environment, streams and exit code. `remember` keeps Ansible's real answers in a
folder shared by all test processes of one run.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from arena_install.inventory import ansible


def remember(folder: Path) -> None:
    """From now on, ask Ansible only what no test process of this run has asked before."""
    ask = ansible._run

    def asked_before(arguments: list[str], plugins: str, keys: str) -> subprocess.CompletedProcess[str]:
        vault = os.environ.get("ANSIBLE_VAULT_PASSWORD_FILE", "")
        key = hashlib.sha256(json.dumps([arguments, plugins, keys, vault]).encode()).hexdigest()
        kept = folder / key
        if kept.exists():
            answer: subprocess.CompletedProcess[str] = pickle.loads(kept.read_bytes())
            return answer
        answer = ask(arguments, plugins, keys)
        partial = folder / f"{key}.{os.getpid()}"
        partial.write_bytes(pickle.dumps(answer))
        partial.replace(kept)
        return answer

    ansible._run = asked_before


def serve() -> None:
    """Answer one JSON line for each JSON line {"cwd", "env", "argv"} on standard input."""
    import arena_install.cli.main
    import arena_install.pipeline.look
    import arena_install.pipeline.setting  # noqa: F401

    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        print(json.dumps(_run(json.loads(line))), flush=True)


def _run(request: dict[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if child == 0:
            _become(request, out.fileno(), err.fileno())
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode())
    return {"code": code, "out": texts[0], "err": texts[1]}


def _become(request: dict[str, Any], out: int, err: int) -> None:
    code: object = 70
    try:
        os.chdir(request["cwd"])
        os.environ.clear()
        os.environ.update(request["env"])
        nothing = os.open(os.devnull, os.O_RDONLY)
        for old, new in ((nothing, 0), (out, 1), (err, 2)):
            os.dup2(old, new)
        sys.argv = ["arena-install", *request["argv"]]
        try:
            runpy.run_module("arena_install", run_name="__main__", alter_sys=True)
        except SystemExit as ending:
            code = 0 if ending.code is None else ending.code
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code if isinstance(code, int) else 1)


if __name__ == "__main__":
    remember(Path(sys.argv[1]))
    serve()
