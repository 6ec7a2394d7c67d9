"""Ansible stdout callback that writes one JSON line per event to an inherited file descriptor (ARENA_EVENTS_FD).

Loaded by Ansible inside its own process, so it imports nothing of ours. Results of tasks with no_log arrive here
already censored. Only what the screen and the run folder need is kept: failures whole, successes as a few words.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: arena_events
type: stdout
short_description: events as JSON lines
description: one JSON object per line on the file descriptor named by ARENA_EVENTS_FD
"""

_KEPT = ("msg", "stderr", "stdout", "rc", "cmd", "exception", "reason")


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "arena_events"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._out = os.fdopen(int(os.environ.get("ARENA_EVENTS_FD", "1")), "w", buffering=1, closefd=False)

    def _write(self, event: str, **data: Any) -> None:
        self._out.write(json.dumps({"event": event, "time": time.time(), **data}, default=str) + "\n")

    def _task(self, task: Any) -> dict[str, str]:
        role = task._role.get_name() if task._role else ""
        return {"task": task.get_name().removeprefix(f"{role} : "), "role": role, "path": task.get_path() or ""}

    def _result(self, event: str, result: Any, **extra: Any) -> None:
        outcome = result.result
        data = {"host": result.host.get_name(), "changed": bool(outcome.get("changed")), **self._task(result.task)}
        if outcome.get("recorded_anew"):
            data["recorded_anew"] = [str(item) for item in outcome["recorded_anew"]]
        if event in ("failed", "unreachable", "retry"):
            data["result"] = {key: str(outcome[key])[-4000:] for key in _KEPT if outcome.get(key)}
            items = [item for item in outcome.get("results", ()) if isinstance(item, dict) and item.get("failed")]
            if items:
                data["result"]["items"] = [
                    {key: str(item[key])[-2000:] for key in (*_KEPT, "item") if item.get(key)} for item in items
                ]
        self._write(event, **data, **extra)

    def v2_playbook_on_play_start(self, play: Any) -> None:
        self._write("play", name=play.get_name())

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        self._write("task", **self._task(task))

    def v2_playbook_on_handler_task_start(self, task: Any) -> None:
        self._write("task", **self._task(task))

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        self._write("start", host=host.get_name(), **self._task(task))

    def v2_runner_on_ok(self, result: Any, **kwargs: Any) -> None:
        self._result("ok", result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._result("failed", result, ignored=bool(ignore_errors))

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._result("unreachable", result)

    def v2_runner_on_skipped(self, result: Any) -> None:
        self._result("skipped", result)

    def v2_runner_retry(self, result: Any) -> None:
        outcome = result.result
        self._result("retry", result, attempt=outcome.get("attempts"), of=outcome.get("retries"))

    def v2_playbook_on_no_hosts_matched(self) -> None:
        self._write("no_hosts")

    def v2_playbook_on_stats(self, stats: Any) -> None:
        self._write("stats", hosts={host: stats.summarize(host) for host in sorted(stats.processed)})
