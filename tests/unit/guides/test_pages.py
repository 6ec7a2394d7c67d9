"""Guides are read rightly, and comparing forgives what differs from run to run, nothing else."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from e2e import guides

PAGE = """\
# A page

```python file=a.py
print(1)
```

```console
$ first
one
two
$ second
```

```console until=DONE until=x
$ third "x y"
DONE
```

```yaml
not: run
```
"""


@pytest.fixture
def page(tmp_path: Path) -> guides.Page:
    (tmp_path / "page.md").write_text(PAGE)
    return guides.read(tmp_path / "page.md")


def test_files_and_commands_in_order(page: guides.Page) -> None:
    assert page.parts[0] == guides.FileBlock("a.py", "print(1)\n")
    assert [(one.line, one.output, one.until) for one in page.commands()] == [
        ("first", "one\ntwo\n", ()),
        ("second", "", ()),
        ('third "x y"', "DONE\n", ("DONE", "x")),
    ]


def test_outputs_go_where_they_were(page: guides.Page) -> None:
    assert page.with_outputs(["one\ntwo\n", "", "DONE\n"]) == PAGE
    assert page.with_outputs(["1\n", "2\n", "3\n"]) == (
        PAGE.replace("one\ntwo\n", "1\n").replace("$ second\n", "$ second\n2\n").replace("\nDONE\n", "\n3\n")
    )


def test_an_option_that_means_nothing_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("```console untill=x\n$ a\n```\n")
    with pytest.raises(ValueError, match="untill=x is no option"):
        guides.read(tmp_path / "page.md")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("pod-7d4b9c6f5b-x2v8q   3m12s", "pod-6f5b7d4b9c-q8x2v 12s"),
        ("ring-launcher-x2v8q", "ring-launcher-bbwvc"),
        ("http://10.89.2.21:30114", "http://10.89.2.22:31999"),
        ("Start Time: 2026-11-27 18:00:01", "Start Time: 2026-11-28 07:12:55"),
        ("epoch 1: 87.2% right", "epoch 1: 86.9% right"),
        ("runs on lab-w1", "runs on lab-w2"),
        ("NAME     AGE", "NAME AGE"),
        ("------", "----------"),
    ],
)
def test_what_differs_from_run_to_run_is_forgiven(one: str, other: str) -> None:
    assert guides.plain(one) == guides.plain(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("SUCCEEDED", "RUNNING"),
        ("rank 0 of 2", "rank 0 of 1"),
        ("the sum is 3", "the sum is 1"),
        ("ring-worker-0", "ring-worker-1"),
        ("ring-launcher", "ring-worker-0"),
        ("2/2", "1/2"),
        ("a\nb", "a"),
    ],
)
def test_nothing_else_is(one: str, other: str) -> None:
    assert guides.plain(one) != guides.plain(other)


@pytest.mark.parametrize("path", guides.PAGES, ids=lambda path: path.stem)
def test_every_page_can_be_run(path: Path) -> None:
    page = guides.read(path)
    commands = list(page.commands())
    assert commands
    for command in commands:
        assert shlex.split(command.line)[0] in ("arena", "kubectl", "curl"), command.line
    assert commands[-1].line.startswith(("arena ", "kubectl delete")), "a guide clears away what it made"
    assert "delete" in commands[-1].line


def test_the_index_names_every_page() -> None:
    text = (guides.PAGES[0].parent / "README.md").read_text()
    assert all(f"({path.name})" in text for path in guides.PAGES)
    assert len(guides.PAGES) == 7
