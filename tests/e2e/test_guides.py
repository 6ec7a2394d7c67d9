"""docs/guides does what it says: every command, run in order by somebody with rights in one namespace, prints what
stands there. `pytest --update-guides` (make guides) writes what it printed into the pages instead.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import arena_user
import guides
import objects
import pytest
from arena_user import Site, User, eventually

pytestmark = [pytest.mark.e2e, pytest.mark.lab]

#: Seconds until a command prints what its block waits for.
PATIENCE = 180


@pytest.fixture(scope="module")
def user(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[User]:
    with arena_user.user(site, tmp_path_factory.mktemp("home")) as found:
        yield found


@pytest.mark.parametrize("path", guides.PAGES, ids=lambda path: path.stem)
def test_guide(path: guides.Path, user: User, request: pytest.FixtureRequest) -> None:
    page = guides.read(path)
    before = objects.take(user.site.kubectl, user.namespace)
    outputs = []
    for part in page.parts:
        if isinstance(part, guides.FileBlock):
            (user.home / part.name).write_text(part.content)
        else:
            outputs.append(run(user, part))
            print(f"$ {part.line}\n{outputs[-1]}")
    if request.config.getoption("--update-guides"):
        path.write_text(page.with_outputs(outputs))
    for command, output in zip(page.commands(), outputs, strict=True):
        if not request.config.getoption("--update-guides"):
            assert guides.plain(output) == guides.plain(command.output), command.line
    eventually(lambda: objects.take(user.site.kubectl, user.namespace) <= before, "what the guide made to go", 120)


def run(user: User, command: guides.Command) -> str:
    """What it prints, as a page shows it."""
    until = time.monotonic() + PATIENCE
    while True:
        # What a log waits for, it says on stderr, and some runs need not wait.
        done = user.shell(command.line if command.line.startswith("arena logs -f") else f"{{ {command.line}\n}} 2>&1")
        said = guides.told(done.stdout, {f"{user.site.name}-": "lab-", user.namespace: "team"})
        if all(text in said for text in command.until):
            break
        assert not ("SUCCEEDED" in command.until and "FAILED" in said), said
        assert time.monotonic() < until, f"{command.line}: no {command.until!r} in:\n{said}"
        time.sleep(1)
    if not command.until:
        assert (done.returncode != 0) == command.fails, f"{command.line}: exit {done.returncode}\n{said}"
    return said
