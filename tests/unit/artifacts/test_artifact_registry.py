from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from upstream_fixture import Authority, Proxy, Upstream, publish_image

from arena_install.artifacts.cache import Cache
from arena_install.artifacts.network import Http, Refused
from arena_install.artifacts.registry import Reference, Registry
from arena_install.errors import StepError
from arena_install.inventory.config import Artifacts


@pytest.fixture
def client(authority: Authority, tmp_path: Path) -> Callable[..., Registry]:
    def make(**settings: object) -> Registry:
        config = Artifacts.model_validate({"ca_file": str(authority.file), **settings})
        return Registry(Http(config, pause=0.01, timeout=5), Cache(tmp_path / "cache"), "amd64")

    return make


def test_an_image_arrives_byte_for_byte(upstream: Upstream, client: Callable[..., Registry]) -> None:
    published = publish_image(upstream, "team/app", "v1")
    registry = client()
    image = registry.pull(f"{upstream.host}/team/app:v1")
    assert image.manifest.digest == published.digest
    assert {blob.digest for blob, _ in image.blobs} == set(published.blobs)
    for blob, _ in image.blobs:
        assert registry.cache.verified(blob.sha256).read_bytes() == published.blobs[blob.digest]
    assert image.media_type.endswith("docker.distribution.manifest.v2+json")
    asked = len(upstream.asked)
    registry.pull(f"{upstream.host}/team/app:v1")
    assert not [path for path in upstream.paths()[asked:] if "/blobs/" in path]


def test_a_blob_that_is_cut_goes_on(upstream: Upstream, client: Callable[..., Registry]) -> None:
    published = publish_image(upstream, "team/app", "v1")
    layer = list(published.blobs)[1]
    upstream.cuts[f"/v2/team/app/blobs/{layer}"] = 1
    client().pull(f"{upstream.host}/team/app:v1")
    assert [h["Range"] for _, path, h in upstream.asked if layer in path and "Range" in h]


def test_a_pull_secret_buys_a_token(
    upstream: Upstream, client: Callable[..., Registry], monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_image(upstream, "private/app", "v1", secret="me:word")
    monkeypatch.setenv("PULL_WORD", "word")
    client(pull_secrets={upstream.host: "me:env:PULL_WORD"}).pull(f"{upstream.host}/private/app:v1")
    assert len([path for path in upstream.paths() if path.startswith("/token")]) == 1
    with pytest.raises(Refused) as caught:
        client().pull(f"{upstream.host}/private/app:v1")
    assert "pull_secrets" in caught.value.fix


def test_wrong_bytes_are_refused_and_not_kept(upstream: Upstream, client: Callable[..., Registry]) -> None:
    publish_image(upstream, "team/app", "v1", broken=True)
    registry = client()
    with pytest.raises(StepError, match="not what was promised"):
        registry.pull(f"{upstream.host}/team/app:v1")
    assert list((registry.cache.root / "partial").iterdir()) == []


def test_an_image_for_other_machines_only(upstream: Upstream, client: Callable[..., Registry]) -> None:
    publish_image(upstream, "team/app", "v1")
    registry = client()
    registry.arch = "s390x"
    with pytest.raises(StepError, match="not published for linux/s390x"):
        registry.pull(f"{upstream.host}/team/app:v1")


def test_through_a_mirror_with_a_prefix_and_a_proxy(
    upstream: Upstream, proxy: Proxy, client: Callable[..., Registry]
) -> None:
    publish_image(upstream, "proxied/team/app", "v1")
    registry = client(
        mirrors={"registry.example.test": "https://mirror.example.test/proxied"},
        proxy=f"http://user:p%40ss%20word@127.0.0.1:{proxy.port}",
    )
    registry.pull("registry.example.test/team/app:v1")
    assert set(proxy.asked) == {"mirror.example.test:443"}


def test_docker_hub_has_its_api_elsewhere(client: Callable[..., Registry]) -> None:
    reference = Reference.parse("docker.io/library/busybox:1.37.0")
    assert client().bases(reference) == ["https://registry-1.docker.io/v2/library/busybox"]
    with pytest.raises(StepError):
        Reference.parse("busybox")
