"""arena's own configuration: a site's images stand in for ours, flags for both, and mistakes are told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from arena_cli import charts, settings
from arena_install.errors import ConfigError

Arena = Callable[..., Any]


@pytest.fixture
def made(alone: Path, arena: Arena, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], dict[str, Any]]:
    """The values that a submission gives its chart."""
    (alone / ".arena").mkdir()
    (alone / ".arena/config").write_text(
        "sync_image = site/tools:2\ntensorboard_image=site/board:2\ncron_image=site/cron:2\n"
        "serving_image=site/serve:2\n"
    )
    monkeypatch.setattr(charts, "render", lambda _chart, _name, _namespace, values, _files: [values])

    def call(line: str) -> dict[str, Any]:
        done = arena(*line.split(), "--dry-run", *([] if line.startswith("serve") else ["true"]))
        assert done.code == 0, done.err
        values: dict[str, Any] = yaml.safe_load(done.out)
        return values

    return call


def test_a_sites_images_are_used(made: Callable[[str], dict[str, Any]]) -> None:
    job = made("submit pytorchjob --name a --image b:1 --sync-mode git --sync-source g/r.git --tensorboard")["job"]
    assert (job["syncImage"], job["tensorboardImage"]) == ("site/tools:2", "site/board:2")
    assert "image" not in job["sync"] and "image" not in job["tensorboard"]
    cron = made("cron tfjob --name a --image b:1 --schedule @daily")
    assert cron["cron"]["image"] == "site/cron:2"


def test_a_sites_image_serves_models_of_tensorflow(made: Callable[[str], dict[str, Any]]) -> None:
    line = "serve tensorflow --name a --model-path /models/a"
    assert made(line)["image"] == "site/serve:2" and made(f"{line} --image mine:1")["image"] == "mine:1"
    assert made("serve triton --name a --image mine:1 --model-repository /models")["image"] == "mine:1"


@pytest.mark.parametrize(
    ("flags", "probe"),
    [
        ("--model-path /models/a", {"httpGet": {"path": "/v1/models/a", "port": "restful"}}),
        ("--model-path /m --model-name b", {"httpGet": {"path": "/v1/models/b", "port": "restful"}}),
        ("--model-path /m --restful-port 0", {"tcpSocket": {"port": "grpc"}}),
        ("--model-config-file /etc/models", {"tcpSocket": {"port": "restful"}}),
        ("--model-path /m --port 0 --restful-port 0", None),
        ("--model-path /m my-server", None),
    ],
)
def test_a_server_whose_command_is_ours_says_when_it_is_ready(
    made: Callable[[str], dict[str, Any]], flags: str, probe: dict[str, Any] | None
) -> None:
    found = made(f"serve tensorflow --name a {flags}").get("probes")
    assert found == (probe and {"readinessProbe": {**probe, "periodSeconds": 2}})


def test_a_flag_goes_before_them(made: Callable[[str], dict[str, Any]]) -> None:
    line = "submit pytorchjob --name a --image b:1 --sync-mode git --sync-source g/r.git --sync-image mine:1"
    assert made(line)["job"]["sync"]["image"] == "mine:1"
    cron = made("cron tfjob --name a --image b:1 --schedule @daily --cron-image mine:1")
    assert cron["cron"]["image"] == "mine:1"


def test_what_is_no_image_is_told_with_its_file(alone: Path) -> None:
    (alone / ".arena").mkdir()
    (alone / ".arena/config").write_text("cron_image=No Image\n")
    with pytest.raises(ConfigError, match="cron_image: 'No Image' is not the name of an image") as error:
        settings.load()
    assert str(alone / ".arena/config") in str(error.value)
