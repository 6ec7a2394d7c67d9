"""The scripts that charts put into pods, run here: code fetched from git; a cron that makes a TFJob and waits."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from goldens import FOLDER


def objects(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FOLDER / f"{name}.yaml").read_text()))


def git(*words: str, at: Path) -> str:
    identity = {
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@b",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@b",
    }
    done = subprocess.run(
        ["git", *words],
        cwd=at,
        env={**os.environ, **identity, "HOME": str(at)},
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Two commits on main, one on a branch."""
    made = tmp_path / "mnist.git"
    made.mkdir()
    git("init", "--quiet", "--initial-branch", "main", at=made)
    for text in ("one", "two"):
        (made / "train.py").write_text(text)
        git("add", ".", at=made)
        git("commit", "--quiet", "-m", text, at=made)
    git("checkout", "--quiet", "-b", "other", at=made)
    (made / "train.py").write_text("other")
    git("commit", "--quiet", "-am", "other", at=made)
    git("checkout", "--quiet", "main", at=made)
    return made


def fetch(repository: Path, root: Path, **env: str) -> subprocess.CompletedProcess[str]:
    pod = objects("tfjob-git")[0]["spec"]["tfReplicaSpecs"]["Chief"]["template"]["spec"]
    (init,) = pod["initContainers"]
    shell, flag, script = init["command"]
    variables = {
        row["name"]: row["value"] for row in init["env"] if "value" in row and row["name"] != "GIT_SYNC_BRANCH"
    }
    variables |= {"GIT_SYNC_REPO": f"file://{repository}", "GIT_SYNC_ROOT": str(root), **env}
    root.mkdir()
    return subprocess.run(
        [shell, flag, script.replace("HOME=/tmp", f"HOME={root}")],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"], **variables},
    )


@pytest.mark.parametrize(
    ("env", "content"),
    [
        ({}, "two"),
        ({"GIT_SYNC_BRANCH": "other"}, "other"),
        ({"GIT_SYNC_DEPTH": "1"}, "two"),
        ({"GIT_SYNC_REV": "HEAD~1"}, "one"),
    ],
)
def test_code_lies_where_the_job_looks(env: dict[str, str], content: str, repository: Path, tmp_path: Path) -> None:
    done = fetch(repository, tmp_path / "code", **env)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "code" / "mnist" / "train.py").read_text() == content


def test_code_that_is_not_there_ends_the_init_container(repository: Path, tmp_path: Path) -> None:
    done = fetch(repository, tmp_path / "code", GIT_SYNC_BRANCH="none")
    assert done.returncode != 0 and "none" in done.stderr


def test_a_password_is_in_no_command_line(repository: Path, tmp_path: Path) -> None:
    done = fetch(repository, tmp_path / "code", GIT_SYNC_USERNAME="u", GIT_SYNC_PASSWORD="s3cret")
    assert done.returncode == 0, done.stderr
    assert "s3cret" not in (tmp_path / "code" / ".gitconfig").read_text()


@pytest.mark.parametrize(("end", "code"), [("Succeeded", 0), ("Failed", 1)])
def test_a_cron_makes_a_tfjob_of_its_own_and_waits(end: str, code: int, tmp_path: Path) -> None:
    data = next(obj for obj in objects("cron-tfjob") if obj["metadata"]["name"] == "nightly-cron" and "data" in obj)[
        "data"
    ]
    (tmp_path / "tfjob.yaml").write_text(data["tfjob.yaml"])
    (tmp_path / "run.sh").write_text(
        data["run.sh"].replace("/etc/cron-tfjob", str(tmp_path)).replace("sleep 5", "sleep 0")
    )
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(
        f'#!/bin/sh\ncd {tmp_path}\nif [ "$1" = create ]; then cat > made; exit; fi\n'
        f"echo Created; [ ! -e asked ] || echo {end}; touch asked\n"
    )
    kubectl.chmod(0o755)
    done = subprocess.run(
        ["sh", str(tmp_path / "run.sh")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "JOB": "nightly-123", "JOB_UID": "u-1"},
    )
    assert done.returncode == code, done.stderr
    made = yaml.safe_load((tmp_path / "made").read_text())
    assert made["metadata"]["name"] == "nightly-123"
    assert made["metadata"]["ownerReferences"][0]["uid"] == "u-1"
    worker = made["spec"]["tfReplicaSpecs"]["Worker"]["template"]["metadata"]["labels"]
    assert (worker["app"], worker["release"]) == ("tfjob", "nightly-123")
