"""`arena whoami`."""

from __future__ import annotations

from arena_cli.command import Verb
from arena_cli.flags import Given


def _run(given: Given) -> None:
    import hashlib

    from arena_cli.kube.client import ApiError, at
    from arena_cli.look.text import as_json
    from arena_cli.session import Session

    session = Session(given)
    client = session.client
    api = "authentication.k8s.io/v1"
    found = client.create(at(api, "selfsubjectreviews"), {"apiVersion": api, "kind": "SelfSubjectReview"})
    name = str(found["status"]["userInfo"]["username"])
    try:
        config = client.find(at("v1", "configmaps", given.text("arena-namespace"), "arena-config"))
    except ApiError:  # most may not read it
        config = None
    listed = str(((config or {}).get("data") or {}).get("adminUsers", "")).split(",")
    access = "authorization.k8s.io/v1"
    review = {
        "apiVersion": access,
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"group": "*", "resource": "*", "verb": "*"}},
    }
    allowed = client.create(at(access, "selfsubjectaccessreviews"), review)["status"].get("allowed", False)
    # Upstream's id of a user, by which it labels jobs where users are kept apart.
    id_ = hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()
    admin = bool(allowed) or name in (one.strip() for one in listed)
    print(as_json({"Name": name, "Id": id_, "IsAdminUser": admin}), end="")


verb = Verb("whoami", "Print who the cluster takes you for.", (), _run)
