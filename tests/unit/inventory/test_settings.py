"""cluster.yaml: defaults, where each setting came from, paths relative to the file, secrets that stay secret."""

from __future__ import annotations

import json
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from arena_install.errors import ArenaError
from arena_install.inventory import Config, config_schema, explain, load


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    return tmp_path / "cluster.yaml"


def test_sections_left_empty_mean_the_defaults(config_file: Path) -> None:
    config_file.write_text(
        "# all commented out\nkubernetes:\n#  pod_cidr: 10.1.0.0/16\nartifacts:\n  mirrors:\nvalues:\n"
    )
    assert load(None, config_file).config == Config()
    config_file.write_text("")
    assert load(None, config_file).config == Config()


def test_anchors_and_merges(config_file: Path) -> None:
    config_file.write_text("values:\n  kueue: &small\n    cpu: 1\n  volcano:\n    <<: *small\n    memory: 2\n")
    assert load(None, config_file).config.values == {"kueue": {"cpu": 1}, "volcano": {"cpu": 1, "memory": 2}}


def test_files_are_relative_to_the_config(config_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (config_file.parent / "site.pem").touch()
    config_file.write_text("artifacts:\n  ca_file: site.pem\n")
    monkeypatch.chdir("/")
    assert load(None, config_file).config.artifacts.ca_file == str(config_file.parent / "site.pem")


def test_explain_names_the_origin_of_every_setting(config_file: Path) -> None:
    config_file.write_text("name: training\nkubernetes:\n  pod_cidr: 10.1.0.0/16\nvalues:\n  kueue:\n    replicas: 2\n")
    config = load(None, config_file).config
    rows = {key: (value, origin) for key, value, origin in explain(config, config_file)}
    assert rows["name"] == ("training", f"{config_file}:1")
    assert rows["kubernetes.pod_cidr"] == ("10.1.0.0/16", f"{config_file}:3")
    assert rows["kubernetes.service_cidr"] == ("10.96.0.0/12", "default")
    assert rows["gpu.simulated.count"] == (4, "default")
    assert rows["values.kueue.replicas"] == (2, f"{config_file}:6")
    over = {key: origin for key, _, origin in explain(config.model_copy(update={"profile": "full"}), config_file)}
    assert over["profile"] == "command line"
    assert over["kubernetes.pod_cidr"] == f"{config_file}:3"
    assert {origin for _, _, origin in explain(Config(), None)} == {"default"}
    json.dumps(explain(config, config_file))


def test_explain_masks_secrets(config_file: Path) -> None:
    config_file.write_text(
        "artifacts:\n  proxy: http://me:hunter2@proxy.example:3128\n  pull_secrets:\n    docker.io: me:hunter2\n"
        "    ghcr.io: env:GHCR\nvalues:\n  grafana:\n    adminPassword: hunter2\n"
    )
    config = load(None, config_file).config
    assert config.artifacts.pull_secrets["docker.io"] == "me:hunter2"
    text = str(explain(config, config_file))
    assert "hunter2" not in text
    assert "proxy.example:3128" in text
    assert "env:GHCR" in text


def test_errors_do_not_repeat_secrets(config_file: Path) -> None:
    config_file.write_text(
        "artifacts:\n  proxy: me:hunter2@proxy\n  pull_secrets:\n    docker.io: hunter2\n    a: [hunter2]\n"
    )
    with pytest.raises(ArenaError) as caught:
        load(None, config_file)
    assert "hunter2" not in str(caught.value)


def test_schema_describes_every_key() -> None:
    schema = config_schema()
    assert schema["additionalProperties"] is False
    assert set(schema["properties"]) == set(Config.model_fields)
    assert schema["$defs"]["Kubernetes"]["properties"]["pod_cidr"]["default"] == "10.244.0.0/16"
    json.dumps(schema)


def test_networks_are_networks(config_file: Path) -> None:
    config_file.write_text("kubernetes:\n  pod_cidr: 172.20.0.0/14\n")
    assert load(None, config_file).config.kubernetes.pod_cidr == IPv4Network("172.20.0.0/14")
