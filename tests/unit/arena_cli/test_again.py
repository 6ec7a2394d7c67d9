"""-w and -r: what is shown anew, and when."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from arena_cli.verbs import again


@pytest.fixture
def three_times(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    left = iter([None, None])

    def sleep(_: float) -> None:
        try:
            next(left)
        except StopIteration:
            raise KeyboardInterrupt from None

    monkeypatch.setattr(again.time, "sleep", sleep)
    yield


def test_only_what_changed(three_times: None, capsys: pytest.CaptureFixture[str]) -> None:
    pages = iter(["one\n", "one\n", "two\n"])
    again.again(lambda: next(pages))
    assert capsys.readouterr().out == "one\ntwo\n"


def test_every_time_under_a_ruler(three_times: None, capsys: pytest.CaptureFixture[str]) -> None:
    again.again(lambda: "page\n", ruler=True)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1::2] == ["page"] * 3 and all(line.startswith("------") for line in lines[::2])
