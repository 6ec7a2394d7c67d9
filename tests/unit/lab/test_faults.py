"""Faults as data, and the engine on a `podman` that runs what it is given on this machine, in a folder of the test."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from arena_install import lab as labs
from arena_install.errors import ConfigError, StepError
from arena_install.events import ignore
from arena_install.inventory.config import Lab
from arena_install.lab import faults, files, podman
from arena_install.lab.faults import engine, model
from arena_install.lab.model import LabInfo, wanted_hosts
from arena_install.verify import registry

GIVEN = """
flip:
  title: A file is there that should not be
  "on": {on}
  inject: touch {folder}/broken-$(basename "$KEPT"); echo kept > "$KEPT/old"
  mend: cat "$KEPT/old" > {folder}/seen || true; rm -f {folder}/broken-flip
  shows: test -e {folder}/broken-flip
  gone: test ! -e {folder}/broken-flip
  fails: [cluster.api]
half:
  title: Breaks and then dies
  "on": worker
  inject: touch {folder}/half; echo no such luck >&2; exit 7
  mend: rm -f {folder}/half
  fails: [cluster.api]
"""


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LabInfo:
    """Lab dev (one control plane, two workers) in a state folder of the test, with the faults above."""
    monkeypatch.setenv("ARENA_INSTALL_STATE", str(tmp_path / "state"))
    info = LabInfo("dev", "10.89.3.0/24", wanted_hosts("dev", Lab(), "10.89.3.0/24"))
    files.save(info)
    files.key_pair(info)
    files.write_access(info, {host.name: "ssh-ed25519 AAAA" for host in info.hosts})
    rows = [{"Names": [host.name], "State": "running"} for host in info.hosts]

    def local(*args: str, timeout: float = 0) -> subprocess.CompletedProcess[str]:
        assert args[:3] == ("exec", "--user", "root")
        place = next(index for index, arg in enumerate(args) if arg.startswith("dev-"))
        variables = [arg for arg in args[3:place] if arg != "--env"]
        here = [text.replace("/var/lib", str(tmp_path)) for text in variables]
        command = [text.replace("/run/", f"{tmp_path}/") for text in args[place + 1 :]]
        return subprocess.run(["env", *here, *command], capture_output=True, text=True, timeout=timeout, check=False)

    monkeypatch.setattr(podman, "require", lambda: None)
    monkeypatch.setattr(podman, "containers", lambda _=None: rows)
    monkeypatch.setattr(podman, "networks", lambda _=None: [])
    monkeypatch.setattr(podman, "attempt", local)
    monkeypatch.setattr(engine, "EFFECT_TIMEOUT", 0)
    write(tmp_path, monkeypatch)
    return info


LOAD = model.load.__wrapped__


def write(folder: Path, monkeypatch: pytest.MonkeyPatch, on: str = "worker") -> None:
    (folder / "quick.yaml").write_text(GIVEN.format(folder=folder, on=on))
    known = LOAD(folder)
    monkeypatch.setattr(model, "load", lambda: known)
    monkeypatch.setattr(engine, "load", lambda: known)


def test_a_fault_goes_in_is_remembered_and_goes_out(given: LabInfo, tmp_path: Path) -> None:
    faults.inject("dev", "flip", ignore)
    assert (tmp_path / "broken-flip").exists()
    (one,) = faults.active("dev")
    assert (one.name, one.hosts) == ("flip", ("dev-w1",))
    faults.inject("dev", "flip", ignore)
    assert len(faults.active("dev")) == 1
    faults.mend("dev", "flip", ignore)
    assert not (tmp_path / "broken-flip").exists() and faults.active("dev") == ()
    assert (tmp_path / "seen").read_text() == "kept\n" and not (tmp_path / "arena-install-faults/flip").exists()
    faults.mend("dev", "flip", ignore)  # also when it is not known to be in


def test_a_fault_for_each_host_of_a_group(given: LabInfo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, monkeypatch, on="each gpu")
    assert faults.inject("dev", "flip", ignore).hosts == ("dev-w1", "dev-w2")


def test_an_inject_that_dies_can_be_mended(given: LabInfo, tmp_path: Path) -> None:
    with pytest.raises(StepError, match="ended with 7") as error:
        faults.inject("dev", "half", ignore)
    assert error.value.why == "no such luck" and error.value.fix == "arena-install lab fault half --name dev --mend"
    assert (tmp_path / "half").exists() and [one.name for one in faults.active("dev")] == ["half"]
    faults.inject("dev", "flip", ignore)
    assert faults.mend_all("dev", ignore) == ("flip", "half")
    assert not (tmp_path / "half").exists() and faults.active("dev") == ()


def test_a_fault_that_this_version_does_not_know_is_mended(
    given: LabInfo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults.inject("dev", "flip", ignore)
    monkeypatch.setattr(model, "load", dict)
    monkeypatch.setattr(engine, "load", dict)
    assert faults.mend_all("dev", ignore) == ("flip",) and not (tmp_path / "broken-flip").exists()


def test_hosts_that_no_lab_made_are_refused(given: LabInfo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(podman, "containers", lambda _=None: [])
    with pytest.raises(ConfigError, match="dev-w1 is not a host of lab dev"):
        faults.inject("dev", "flip", ignore)
    assert not (tmp_path / "broken-flip").exists() and faults.active("dev") == ()
    with pytest.raises(ConfigError, match="no lab named other"):
        faults.inject("other", "flip", ignore)


def test_an_unknown_name_gets_a_suggestion(given: LabInfo) -> None:
    with pytest.raises(ConfigError, match="no fault named flop") as error:
        faults.inject("dev", "flop", ignore)
    assert "`flip`" in error.value.why and error.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("a:\n  title: x\n  on: gpu\n", 3, "quotes"),
        ('a:\n  title: x\n  "on": moon\n  inject: x\n  mend: x\n  fails: [a.b]\n', 3, "on"),
        ('a:\n  title: x\n  "on": gpu\n  inject: x\n  fails: [a.b]\n', 1, "mend"),
        ('a:\n  title: x\n  "on": gpu\n  inject: x\n  mend: x\n  fails: [all]\n', 6, "not the id of a check"),
        ('a:\n  title: x\n  "on": gpu\n  inject: x\n  mend: x\n  fails: [a.b]\n  afer: y\n', 7, "afer"),
        ("a: 1\n", 1, "mapping"),
        ("- a\n", 1, "mapping"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_with_its_line(tmp_path: Path, text: str, line: int, what: str) -> None:
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(ConfigError) as error:
        LOAD(tmp_path)
    assert error.value.where == f"{tmp_path}/x.yaml:{line}"
    assert what in str(error.value)


#: Checks that are skipped where GPUs are simulated: no fault in a lab can show that they fail.
REAL_ONLY = {"gpu.cuda", "gpu.dcgm"}

#: Checks that no fault breaks yet; only to be made shorter.
MISSING: set[str] = set()


def test_every_check_has_a_fault_and_every_fault_names_checks_that_exist() -> None:
    checks, known = set(registry.load()), model.load()
    named = {id for fault in known.values() for id in fault.fails}
    assert checks - named == MISSING | REAL_ONLY
    named_of = {fault.name: {*fault.fails, *fault.also, *fault.may} for fault in known.values()}
    unknown = {(name, id) for name, ids in named_of.items() for id in ids - checks}
    assert not unknown


@pytest.mark.parametrize("fault", model.load().values(), ids=lambda fault: fault.name)
def test_every_script_of_a_fault_is_a_shell_script(fault: faults.Fault) -> None:
    for script in (fault.inject, fault.mend, fault.shows, fault.gone):
        subprocess.run(["sh", "-n"], input=script, text=True, check=True)


def test_the_list_is_json_too(given: LabInfo, capsys: pytest.CaptureFixture[str]) -> None:
    from arena_install.cli.lab_view import tell_faults

    faults.inject("dev", "flip", ignore)
    tell_faults(model.load(), "dev", faults.active("dev"), as_json=True)
    rows = json.loads(capsys.readouterr().out)["faults"]
    assert {row["name"]: row["active"] for row in rows} == {"flip": ["dev-w1"], "half": []}
    assert labs.find("dev").name == "dev"
