"""A visit to JupyterHub: turned away without a login, let in with one, a notebook started, cells run in it, stopped.

`python3 notebook_client.py SETTINGS` (JSON: hub, the hub's address; name, the user's; account, what the hub calls them;
gpu, cpu: slugs of profiles), with the password in /login/password. In the image of notebooks, which has what it needs.
"""

from __future__ import annotations

import json
import secrets
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests
import websocket
from gpu_view import report  # type: ignore[import-not-found]  # mounted beside this file

_START, _STOP, _CELL = 240.0, 90.0, 90.0  # seconds
#: What notebooks run: the GPUs that they see, and whether arena works with the account that they have.
_LOOK = """
import json
try:
    import pynvml
    pynvml.nvmlInit()
    handles = map(pynvml.nvmlDeviceGetHandleByIndex, range(pynvml.nvmlDeviceGetCount()))
    uuids = [pynvml.nvmlDeviceGetUUID(handle) for handle in handles]
except Exception as error:
    uuids = []
print(json.dumps(uuids))
"""
_ARENA = """
import json, subprocess
done = subprocess.run(["arena", "list"], capture_output=True, text=True)
print(json.dumps([done.returncode, (done.stdout + done.stderr).strip()[-300:]]))
"""
_WRITE = "print(open('/home/notebook/verify', 'w').write({word!r}))"
_READ = "import json; print(json.dumps(open('/home/notebook/verify').read()))"


class Visit:
    def __init__(self, settings: dict[str, str]) -> None:
        self.hub, self.name, self.account = settings["hub"], settings["name"], settings["account"]
        self.session = requests.Session()
        self.token = ""

    def log_in(self, password: str) -> int:
        """Status of the page that the form leads to; a login that holds ends at 302."""
        self.session = requests.Session()
        self.session.get(f"{self.hub}/hub/login", timeout=30)
        form = {"username": self.name, "password": password, "_xsrf": self._xsrf()}
        answer = self.session.post(f"{self.hub}/hub/login", data=form, allow_redirects=False, timeout=30)
        return int(answer.status_code)

    def _xsrf(self) -> str:
        return str(self.session.cookies.get("_xsrf", "", path="/hub/"))

    def take_token(self) -> None:
        answer = self.session.post(
            f"{self.hub}/hub/api/users/{self.account}/tokens",
            json={"note": "arena-install verify", "expires_in": 3600},
            headers={"X-XSRFToken": self._xsrf(), "Referer": f"{self.hub}/hub/token"},
            timeout=30,
        )
        self.token = str(self._read(answer)["token"])

    def api(self, method: str, path: str, **body: Any) -> Any:
        headers = {"Authorization": f"token {self.token}"}
        return self._read(requests.request(method, f"{self.hub}{path}", headers=headers, timeout=60, **body))

    def _read(self, answer: Any) -> Any:
        if answer.status_code >= 400:
            asked = f"{answer.request.method} {answer.request.path_url}"
            raise RuntimeError(f"{asked}: {answer.status_code} {answer.text[:300]}")
        return answer.json() if answer.text else {}

    def start(self, profile: str) -> float:
        """Seconds that it took."""
        began = time.monotonic()
        self.api("POST", f"/hub/api/users/{self.account}/server", json={"profile": profile})
        _until(_START, f"the notebook with profile {profile} to run", lambda: self._server(profile))
        return time.monotonic() - began

    def _server(self, profile: str) -> bool:
        servers = self.api("GET", f"/hub/api/users/{self.account}").get("servers") or {}
        if "" not in servers:
            raise RuntimeError(f"the hub gave up the notebook with profile {profile}; its log says why")
        return bool(servers[""]["ready"])

    def stop(self) -> None:
        self.api("DELETE", f"/hub/api/users/{self.account}/server")
        _until(_STOP, "the notebook to stop", self._is_gone)

    def _is_gone(self) -> bool:
        return not self.api("GET", f"/hub/api/users/{self.account}").get("servers")

    def run(self, *cells: str) -> list[Any]:
        """What each cell prints, which is JSON; all in one kernel."""
        base = f"/user/{self.account}/api/kernels"
        kernel = str(self.api("POST", base, json={})["id"])
        socket = websocket.create_connection(
            f"{self.hub.replace('http', 'ws', 1)}{base}/{kernel}/channels",
            header={"Authorization": f"token {self.token}"},
            timeout=_CELL,
        )
        try:
            return [json.loads(_execute(socket, cell)) for cell in cells]
        finally:
            socket.close()
            self.api("DELETE", f"{base}/{kernel}")


def _execute(socket: Any, code: str) -> str:
    """What it wrote, by Jupyter's messaging protocol. Raises RuntimeError with the cell's own error."""
    header = {"msg_id": uuid.uuid4().hex, "username": "", "session": uuid.uuid4().hex, "msg_type": "execute_request"}
    content = {"code": code, "silent": False, "store_history": False, "user_expressions": {}, "allow_stdin": False}
    message = {"header": header | {"version": "5.3"}, "parent_header": {}, "metadata": {}, "content": content}
    socket.send(json.dumps(message | {"channel": "shell", "buffers": []}))
    said = ""
    while True:
        answer = json.loads(socket.recv())
        if answer["parent_header"].get("msg_id") != header["msg_id"]:
            continue
        kind, content = answer["msg_type"], answer["content"]
        if kind == "stream":
            said += str(content["text"])
        elif kind == "error":
            raise RuntimeError(f"a cell failed: {content['ename']}: {content['evalue']}")
        elif kind == "status" and content["execution_state"] == "idle":
            return said


def _until(seconds: float, what: str, true: Callable[[], bool]) -> None:
    until = time.monotonic() + seconds
    while not true():
        if time.monotonic() > until:
            raise RuntimeError(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.5)


def strangers(visit: Visit) -> dict[str, Any]:
    """What comes to whom the hub does not know: the page that it leads to, or a refusal."""
    pages = ("/hub/home", "/hub/api/users", f"/user/{visit.account}/api/kernels", f"/user/{visit.account}/lab")
    found: dict[str, Any] = {}
    for page in pages:
        answer = requests.get(f"{visit.hub}{page}", timeout=30)
        found[page] = "login" if answer.ok and "/hub/login" in answer.url else answer.status_code
    return found


def main(settings: dict[str, str]) -> None:
    visit = Visit(settings)
    password = Path("/login/password").read_text()
    report("stranger", pages=strangers(visit))
    report("refused", status=visit.log_in(password[:-1]), token=visit.log_in(secrets.token_urlsafe(18)))
    status = visit.log_in(password)
    report("login", status=status)
    visit.take_token()
    seconds = visit.start(settings["gpu"])
    word = uuid.uuid4().hex
    uuids, (code, said), _ = visit.run(_LOOK, _ARENA, _WRITE.format(word=word))
    report("first", seconds=seconds, uuids=uuids, arena=code, said=said, pages=strangers(visit))
    visit.stop()
    seconds = visit.start(settings["cpu"])
    uuids, kept = visit.run(_LOOK, _READ)
    report("second", seconds=seconds, uuids=uuids, kept=kept == word)
    visit.stop()
    report("end")


if __name__ == "__main__":
    try:
        main(json.loads(sys.argv[1]))
    except (RuntimeError, OSError, ValueError, KeyError, websocket.WebSocketException) as error:
        report("error", text=f"{type(error).__name__}: {error}"[:600])
