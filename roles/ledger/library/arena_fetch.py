#!/usr/bin/python
"""Fetch host programs from the cluster's registry by digest.

Programs travel the same road as images: blob sha256:<hex> of repository arena-install/files/<name>. The digest is
checked while the bytes arrive, and a file is put in place only when it is whole, so an interrupted or wrong download
never becomes a program. Proxies are not asked: the registry is a host of the cluster.
"""

import hashlib
import os
import ssl
import time
import urllib.request

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: arena_fetch
short_description: fetch files by digest from the cluster's registry
options:
  registry: {type: str, required: true, description: host:port}
  ca: {type: path, required: true}
  files: {type: list, elements: dict, required: true, description: "{name, sha256, path, mode}; mode is 0755 if absent"}
"""

BLOCK = 1 << 20


def digest_of(path):
    found = hashlib.sha256()
    try:
        with open(path, "rb") as data:
            for block in iter(lambda: data.read(BLOCK), b""):
                found.update(block)
    except FileNotFoundError:
        return ""
    return found.hexdigest()


def mode_of(entry):
    return int(str(entry.get("mode", "0755")), 8)


def is_there(entry):
    return digest_of(entry["path"]) == entry["sha256"] and os.stat(entry["path"]).st_mode & 0o7777 == mode_of(entry)


def fetch(opener, url, entry):
    fresh = entry["path"] + ".arena-install"
    os.makedirs(os.path.dirname(fresh), exist_ok=True)
    found = hashlib.sha256()
    with opener.open(url, timeout=60) as answer, open(fresh, "wb") as out:
        for block in iter(lambda: answer.read(BLOCK), b""):
            found.update(block)
            out.write(block)
    if found.hexdigest() != entry["sha256"]:
        os.unlink(fresh)
        raise OSError("got sha256 {0}, wanted {1}".format(found.hexdigest(), entry["sha256"]))
    os.chmod(fresh, mode_of(entry))
    os.chown(fresh, 0, 0)
    os.replace(fresh, entry["path"])


def main():
    module = AnsibleModule(
        argument_spec={
            "registry": {"type": "str", "required": True},
            "ca": {"type": "path", "required": True},
            "files": {"type": "list", "elements": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    given = module.params
    due = [entry for entry in given["files"] if not is_there(entry)]
    if not due or module.check_mode:
        module.exit_json(changed=bool(due), paths=[entry["path"] for entry in due])
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}),
        urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=given["ca"])),
    )
    for entry in due:
        url = "https://{0}/v2/arena-install/files/{1}/blobs/sha256:{2}".format(
            given["registry"], entry["name"], entry["sha256"]
        )
        for attempt in (1, 2, 3):
            try:
                fetch(opener, url, entry)
                break
            except OSError as error:
                if attempt == 3:
                    module.fail_json(
                        msg="{0} from {1}: {2}. Is the registry running there (systemctl status docker-registry), "
                        "and did role registry run since the lock changed?".format(entry["path"], url, error)
                    )
                time.sleep(attempt)
    module.exit_json(changed=True, paths=[entry["path"] for entry in due])


if __name__ == "__main__":
    main()
