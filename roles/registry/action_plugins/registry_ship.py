"""Bring images and programs from the controller's cache into the registry: only what is missing, in few trips.

One question tells what the registry lacks. Small blobs then travel inside the call that pushes them, large ones over
Ansible's own connection in batches that are pushed and removed, so that the host never holds much twice and a broken
run goes on where it stopped. Programs become OCI artifacts: a manifest with the file as its one layer.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

INLINE = 64 * 1024  # bytes up to which a blob travels inside the call
BATCH = 384 * 1024 * 1024  # bytes staged on the host at once
EMPTY = b"{}"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
REFERENCE = re.compile(r"^(?P<name>[^@]+?)(?::(?P<tag>[^:/@]+))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?$")


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def image_entries(images, read):
    """One entry for each reference: repository, tag, manifest digest and bytes, digests of its blobs."""
    for reference, row in sorted(images.items()):
        parts = REFERENCE.match(reference)
        blobs = list(dict.fromkeys(blob["digest"] for blob in row["blobs"]))
        data = read(row["manifest"])
        yield {
            "repository": parts["name"],
            "tag": parts["tag"] or "",
            "manifest": row["manifest"],
            "media_type": row["media_type"],
            "blobs": blobs,
            "data": base64.b64encode(data).decode(),
        }


def file_entries(files):
    """Programs as OCI artifacts in arena-install/files/<name>; the tag is the version."""
    for name, row in sorted(files.items()):
        layer = {"mediaType": "application/octet-stream", "digest": "sha256:" + row["sha256"], "size": row["size"]}
        layer["annotations"] = {"org.opencontainers.image.title": name}
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": "application/vnd.arena-install.file.v1",
            "config": {
                "mediaType": "application/vnd.oci.empty.v1+json",
                "digest": digest_of(EMPTY),
                "size": len(EMPTY),
            },
            "layers": [layer],
        }
        data = json.dumps(manifest, sort_keys=True).encode()
        yield {
            "repository": "arena-install/files/" + name,
            "tag": re.sub(r"[^A-Za-z0-9._-]", "_", row["version"])[:128] or "none",
            "manifest": digest_of(data),
            "media_type": MANIFEST,
            "blobs": [layer["digest"], digest_of(EMPTY)],
            "data": base64.b64encode(data).decode(),
        }


class ActionModule(ActionBase):
    _VALID_ARGS = frozenset(("blobs", "images", "files", "socket", "unit"))

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        given = self._task.args
        self._folder = given["blobs"]
        self._call_args = {"socket": given["socket"], "unit": given.get("unit", "")}
        self._vars = task_vars
        want = [*image_entries(given["images"], self._read), *file_entries(given["files"])]
        asked = self._store(state="missing", want=[dict(entry, data="") for entry in want])
        result.update(changed=bool(asked["due"]), missing=len(asked["missing"]), bytes=0)
        result["due"] = [":".join(row) for row in asked["due"]]
        if not asked["due"] or self._task.check_mode:
            return result
        due = {tuple(row) for row in asked["due"]}
        # Entries that are there already come along without their bytes: they are sources to link from.
        want = [entry if (entry["repository"], entry["tag"]) in due else dict(entry, data="") for entry in want]
        try:
            self._ship(asked["missing"], want, result)
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        return result

    def _ship(self, missing, want, result):
        sizes = {digest: self._size(digest) for digest in missing}
        small = {digest for digest in missing if sizes[digest] <= INLINE}
        inline = {digest: base64.b64encode(self._read(digest)).decode() for digest in sorted(small)}
        large = [digest for digest in missing if digest not in small]
        folder = self._make_tmp_path() if large else None
        staged, held = {}, 0
        for digest in large:
            if staged and held + sizes[digest] > BATCH:
                self._store(state="push", want=want, staged=staged)
                staged, held = {}, 0
            path = self._connection._shell.join_path(folder, digest.split(":")[1])
            self._connection.put_file(self._path(digest), path)
            staged[digest] = path
            held += sizes[digest]
        pushed = self._store(state="push", want=want, staged=staged, inline=inline, last=True)
        result.update(pushed=pushed["pushed"], bytes=sum(sizes.values()))

    def _path(self, digest):
        return os.path.join(self._folder, digest.split(":")[1])

    def _read(self, digest):
        if digest == digest_of(EMPTY):
            return EMPTY
        try:
            with open(self._path(digest), "rb") as data:
                return data.read()
        except FileNotFoundError:
            raise self._gone(digest) from None

    def _size(self, digest):
        if digest == digest_of(EMPTY):
            return len(EMPTY)
        try:
            return os.path.getsize(self._path(digest))
        except FileNotFoundError:
            raise self._gone(digest) from None

    def _gone(self, digest):
        return AnsibleActionFail(
            f"{digest} is named by the resolved lock but is not in the cache ({self._folder}); "
            "`arena-install up` brings it back, or name the right cache with arena_artifacts_dir"
        )

    def _store(self, **arguments):
        answer = self._execute_module(
            module_name="registry_store", module_args={**self._call_args, **arguments}, task_vars=self._vars
        )
        if answer.get("failed"):
            raise AnsibleActionFail(answer.get("msg", "registry_store failed"), result=answer)
        return answer
