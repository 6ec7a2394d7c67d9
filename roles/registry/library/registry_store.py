#!/usr/bin/python
"""Ask the registry what it lacks, and give it that. Called by the registry_ship action, which brings the bytes.

want: repositories -> {tag, manifest, media_type, blobs}. An answer to `missing` is the blobs that no repository here
holds yet; `push` then links what is here already (mounting costs no bytes), uploads what came, and puts the manifests
last, so that a tag that exists is complete. Speaks HTTP over a Unix socket, with the standard library alone.
"""

import base64
import hashlib
import http.client
import os
import socket
import time
from urllib.parse import quote

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: registry_store
short_description: what the registry lacks, and giving it that
options:
  state: {type: str, required: true, choices: [missing, push]}
  socket: {type: path, required: true}
  unit: {type: str, required: true, description: systemd unit that serves the socket}
  want: {type: list, elements: dict, required: true}
  inline: {type: dict, description: digest to base64}
  staged: {type: dict, description: digest to a file here; removed once pushed}
  last: {type: bool, description: nothing more comes; put manifests and stop the unit}
"""

ACCEPT = ", ".join(
    "application/vnd." + kind
    for kind in (
        "oci.image.manifest.v1+json",
        "oci.image.index.v1+json",
        "docker.distribution.manifest.v2+json",
        "docker.distribution.manifest.list.v2+json",
    )
)


class Refused(Exception):
    pass


class Connection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=300)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(300)
        self.sock.connect(self._path)


class Store:
    def __init__(self, path):
        self._connection = Connection(path)

    def ask(self, method, url, body=None, headers=None, ok=(200, 201, 202, 204), none=(404,)):
        """Headers of the answer, or None when what was asked for is not there."""
        self._connection.request(method, url, body=body, headers=headers or {})
        answer = self._connection.getresponse()
        said = answer.read()
        if answer.status in ok:
            return answer.headers, answer.status
        if answer.status in none:
            return None, answer.status
        raise Refused("{0} {1}: {2} {3}".format(method, url, answer.status, said[:500].decode("utf-8", "replace")))

    def has_blob(self, repository, digest):
        return self.ask("HEAD", "/v2/{0}/blobs/{1}".format(repository, digest))[0] is not None

    def manifest(self, repository, reference):
        headers, _ = self.ask("HEAD", "/v2/{0}/manifests/{1}".format(repository, reference), headers={"Accept": ACCEPT})
        return headers and headers["Docker-Content-Digest"]

    def mount(self, repository, digest, source):
        """Whether the blob is now in the repository, linked from another one."""
        url = "/v2/{0}/blobs/uploads/?mount={1}&from={2}".format(repository, quote(digest), quote(source, safe=""))
        headers, status = self.ask("POST", url)
        if status == 201:
            return True
        self.ask("DELETE", headers["Location"].split("localhost", 1)[-1])
        return False

    def upload(self, repository, digest, data, size):
        headers, _ = self.ask("POST", "/v2/{0}/blobs/uploads/".format(repository))
        where = headers["Location"].split("localhost", 1)[-1]
        where += ("&" if "?" in where else "?") + "digest=" + quote(digest)
        self.ask("PUT", where, data, {"Content-Length": str(size), "Content-Type": "application/octet-stream"}, none=())

    def put_manifest(self, repository, reference, data, media_type):
        self.ask(
            "PUT", "/v2/{0}/manifests/{1}".format(repository, reference), data, {"Content-Type": media_type}, none=()
        )


def incomplete(store, want):
    """Entries whose tag does not point at their manifest, or that lack a blob: disks lose files, people delete them."""
    return [
        entry
        for entry in want
        if store.manifest(entry["repository"], entry["tag"] or entry["manifest"]) != entry["manifest"]
        or not all(store.has_blob(entry["repository"], digest) for digest in entry["blobs"])
    ]


def holders(store, entries):
    """digest -> one repository that holds it, among those that will."""
    found = {}
    for entry in entries:
        for digest in entry["blobs"]:
            if digest not in found and store.has_blob(entry["repository"], digest):
                found[digest] = entry["repository"]
    return found


def missing(store, want):
    due = incomplete(store, want)
    if not due:
        return [], []
    # Blobs of finished entries are there: each was just asked for.
    done = {digest for entry in want if entry not in due for digest in entry["blobs"]}
    found = holders(store, due)
    lacking = {digest for entry in due for digest in entry["blobs"]} - done - set(found)
    return due, sorted(lacking)


def push(store, want, given):
    """Upload what came with this call; with `last`, link and tag everything."""
    due = incomplete(store, want)
    for digest, text in given["inline"].items():
        data = base64.b64decode(text)
        for entry in [entry for entry in due if digest in entry["blobs"]][:1]:
            store.upload(entry["repository"], digest, data, len(data))
    for digest, path in given["staged"].items():
        for entry in [entry for entry in due if digest in entry["blobs"]][:1]:
            with open(path, "rb") as data:
                store.upload(entry["repository"], digest, data, os.fstat(data.fileno()).st_size)
        os.unlink(path)
    if not given["last"]:
        return []
    source = {digest: entry["repository"] for entry in want if entry not in due for digest in entry["blobs"]}
    source.update(holders(store, due))
    for entry in due:
        for digest in entry["blobs"]:
            if source.get(digest) != entry["repository"] and not store.has_blob(entry["repository"], digest):
                if digest not in source or not store.mount(entry["repository"], digest, source[digest]):
                    raise Refused("{0} of {1} did not come".format(digest, entry["repository"]))
        data = base64.b64decode(entry["data"])
        if "sha256:" + hashlib.sha256(data).hexdigest() != entry["manifest"]:
            raise Refused("the manifest of {0} is not {1}".format(entry["repository"], entry["manifest"]))
        store.put_manifest(entry["repository"], entry["tag"] or entry["manifest"], data, entry["media_type"])
    return ["{0}:{1}".format(entry["repository"], entry["tag"]) for entry in due]


def start(module, path, unit):
    """The unit runs while we work. A second start of a running unit is nothing."""
    rc, _, err = module.run_command(["systemctl", "start", unit])
    deadline = time.monotonic() + 30
    while rc == 0:
        try:
            Store(path).ask("GET", "/v2/")
            return
        except OSError:
            if time.monotonic() > deadline:
                rc, err = 1, "{0} does not answer after 30 s".format(path)
            time.sleep(0.05)
    _, log, _ = module.run_command(["journalctl", "-u", unit, "-n", "15", "--no-pager", "-o", "cat"])
    module.fail_json(msg="{0}: {1}\n{2}".format(unit, err.strip(), log.strip()))


def main():
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "required": True, "choices": ["missing", "push"]},
            "socket": {"type": "path", "required": True},
            "unit": {"type": "str", "required": True},
            "want": {"type": "list", "elements": "dict", "required": True},
            "inline": {"type": "dict", "default": {}},
            "staged": {"type": "dict", "default": {}},
            "last": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    given = module.params
    if given["unit"]:
        start(module, given["socket"], given["unit"])
    store = Store(given["socket"])
    answer = {"changed": False}
    try:
        if given["state"] == "missing":
            due, lacking = missing(store, given["want"])
            answer.update(due=[[entry["repository"], entry["tag"]] for entry in due], missing=lacking)
            finished = not due
        else:
            answer.update(changed=True, pushed=push(store, given["want"], given))
            finished = given["last"]
    except (Refused, OSError, http.client.HTTPException) as error:
        module.fail_json(msg="registry at {0}: {1}".format(given["socket"], error))
    if finished and given["unit"]:
        module.run_command(["systemctl", "stop", given["unit"]])
    module.exit_json(**answer)


if __name__ == "__main__":
    main()
