from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from upstream_fixture import Authority, Proxy, Upstream

from arena_install.artifacts.network import Http, Refused, first_of, proxy_url
from arena_install.errors import ArenaError, ConfigError, UnreachableError
from arena_install.inventory.config import Artifacts

BIG = os.urandom(700_000)


@pytest.fixture
def client(authority: Authority) -> Callable[..., Http]:
    def make(**settings: object) -> Http:
        return Http(Artifacts.model_validate({"ca_file": str(authority.file), **settings}), pause=0.01, timeout=5)

    return make


def test_a_download_that_is_cut_goes_on_where_it_was(
    upstream: Upstream, client: Callable[..., Http], tmp_path: Path
) -> None:
    upstream.files["/big"] = BIG
    upstream.cuts["/big"] = 2
    seen: list[tuple[int, int]] = []
    part = client().download(f"{upstream.url}/big", tmp_path / "part", progress=lambda *at: seen.append(at))
    assert part.read_bytes() == BIG
    assert [headers.get("Range") for _, _, headers in upstream.asked] == [None, "bytes=350000-", "bytes=525000-"]
    assert seen[-1] == (len(BIG), len(BIG))
    assert list(tmp_path.iterdir()) == [part]


def test_the_next_run_goes_on_too_unless_the_file_is_another_one_now(
    upstream: Upstream, client: Callable[..., Http], tmp_path: Path
) -> None:
    upstream.files["/big"] = BIG
    upstream.cuts["/big"] = 100
    with pytest.raises(UnreachableError):
        client().download(f"{upstream.url}/big", tmp_path / "part")
    assert 0 < (tmp_path / "part").stat().st_size < len(BIG)
    upstream.files["/big"], upstream.cuts = BIG[::-1], {}
    client().download(f"{upstream.url}/big", tmp_path / "part")
    assert (tmp_path / "part").read_bytes() == BIG[::-1]


def test_a_busy_server_is_asked_again_and_a_no_is_taken(upstream: Upstream, client: Callable[..., Http]) -> None:
    from upstream_fixture import reply

    answers = iter([503, 429, 200])
    upstream.answers["/busy"] = lambda handler: reply(handler, next(answers), b"ok")
    assert client().get(f"{upstream.url}/busy")[0] == b"ok"
    with pytest.raises(Refused) as caught:
        client().get(f"{upstream.url}/absent")
    assert caught.value.status == 404
    assert upstream.paths().count("/absent") == 1


def test_a_ca_of_the_border_must_be_named(upstream: Upstream) -> None:
    with pytest.raises(UnreachableError) as caught:
        Http(Artifacts(), pause=0).get(f"{upstream.url}/x")
    assert "ca_file" in caught.value.fix
    assert caught.value.exit_code == 3


def test_a_bad_ca_file_is_the_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(ConfigError, match="CA file"):
        Http(Artifacts(ca_file=str(tmp_path / "ca.pem"))).get("https://127.0.0.1:1/x")


def test_through_a_proxy_with_a_password(
    upstream: Upstream, proxy: Proxy, client: Callable[..., Http], monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream.files["/x"] = b"through"
    monkeypatch.setenv("PROXY_WORD", "p@ss word")
    http = client(proxy=f"http://user:env:PROXY_WORD@127.0.0.1:{proxy.port}", no_proxy=["127.0.0.1"])
    assert http.get("https://dl.example.test/x")[0] == b"through"
    assert proxy.asked == ["dl.example.test:443"]
    assert http.get(f"{upstream.url}/x")[0] == b"through"  # no_proxy
    assert proxy.asked == ["dl.example.test:443"]


def test_a_proxy_without_the_password_says_what_is_missing(proxy: Proxy, client: Callable[..., Http]) -> None:
    with pytest.raises(UnreachableError) as caught:
        client(proxy=f"http://user:wrong@127.0.0.1:{proxy.port}").get("https://dl.example.test/x")
    assert "artifacts.proxy" in caught.value.fix
    assert "wrong" not in str(caught.value)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("http://proxy:3128", "http://proxy:3128"),
        ("http://u:p@proxy:3128/", "http://u:p@proxy:3128"),
        ("https://u:p%40q@proxy:3128", "https://u:p%40q@proxy:3128"),
        ("http://u:env:WORD@proxy:3128", "http://u:a%2Fb@proxy:3128"),
    ],
)
def test_how_a_proxy_is_written(written: str, meant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORD", "a/b")
    assert proxy_url(written) == meant


@pytest.mark.parametrize("written", ["proxy:3128", "socks5://proxy:1", "http://u:env:ABSENT_WORD@proxy:1"])
def test_a_proxy_that_cannot_be_meant(written: str) -> None:
    with pytest.raises(ConfigError):
        proxy_url(written)


def test_a_mirror_is_asked_first_and_upstream_after_it(
    serve: Callable[[], Upstream], client: Callable[..., Http]
) -> None:
    upstream, mirror = serve(), serve()
    upstream.files |= {"/f": b"upstream", "/only": b"upstream"}
    mirror.files["/cache/f"] = b"mirror"
    http = client(mirrors={upstream.host: f"{mirror.url}/cache/"})
    assert first_of(http.candidates(f"{upstream.url}/f"), http.get)[0] == b"mirror"
    assert upstream.asked == []
    assert first_of(http.candidates(f"{upstream.url}/only"), http.get)[0] == b"upstream"
    with pytest.raises(Refused) as caught:
        first_of(http.candidates(f"{upstream.url}/none"), http.get)
    assert mirror.host in caught.value.why


def test_redirects_keep_credentials_at_home(serve: Callable[[], Upstream], client: Callable[..., Http]) -> None:
    from upstream_fixture import reply

    first, other = serve(), serve()
    other.files["/blob"] = b"blob"
    first.answers["/here"] = lambda handler: reply(handler, 307, Location=f"{other.url}/blob")
    first.answers["/plain"] = lambda handler: reply(handler, 302, Location="http://127.0.0.1:1/blob")
    assert client().get(f"{first.url}/here", {"Authorization": "Bearer x"})[0] == b"blob"
    assert "Authorization" not in other.asked[0][2]
    with pytest.raises(ArenaError, match="redirects from https to http"):
        client().get(f"{first.url}/plain")
