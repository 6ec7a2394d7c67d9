"""Evidence without secrets."""

from __future__ import annotations

from arena_install.verify.redact import BLANK, redacted


def test_secrets_are_blanked_and_bookkeeping_is_left_out() -> None:
    pod = {
        "metadata": {"name": "x", "managedFields": [{"manager": "m"}]},
        "spec": {
            "serviceAccountName": "verify-user",
            "containers": [
                {
                    "env": [
                        {"name": "DB_PASSWORD", "value": "hunter2"},
                        {"name": "USE_LIBUV", "value": "0"},
                        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
                    ]
                }
            ],
        },
        "status": {"token": "abc"},
    }
    clean = redacted(pod)
    assert clean["spec"]["containers"][0]["env"][0]["value"] == BLANK
    assert clean["spec"]["containers"][0]["env"][1]["value"] == "0"
    assert clean["status"]["token"] == BLANK
    assert "managedFields" not in clean["metadata"]
    assert pod["status"]["token"] == "abc", "the original is left alone"  # type: ignore[index]


def test_a_secret_keeps_only_its_names() -> None:
    assert redacted({"kind": "Secret", "metadata": {"name": "s"}, "data": {"a": "eA=="}})["data"] == BLANK
