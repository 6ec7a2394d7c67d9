"""Which names can be meant: group names (and near misses of ours), host names that work as node names, addresses."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address

from arena_install.inventory.cluster import ALIASES, GROUPS
from arena_install.suggest import distance

#: Says where the tool runs; gives a host no role of its own.
DEPLOY = "kube-deploy"
ANSIBLES_OWN = ("all", "ungrouped")
#: Close to one of ours by chance, and common in sites' inventories.
_NOT_A_TYPO = {
    "cpu", "cpus", "dpu", "dpus", "ipu", "ipus", "npu", "npus", "tpu", "tpus", "vpu", "apu",
    "docker", "broker", "etcd", "k8s_cluster", "k8s-cluster", "calico_rr", "bastion",
}  # fmt: skip
_OURS = (*GROUPS, *ALIASES, DEPLOY)

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
#: A node's name is also the value of its label kubernetes.io/hostname, and label values end at 63 characters.
_MAX_NAME = 63


def canonical(group: str) -> str:
    """Our name of a group, "" if it is the site's own."""
    return group if group in GROUPS else ALIASES.get(group, "")


def meant(group: str) -> str:
    """Which of our group names a foreign name was probably meant to be, "" if none.

    One edit away, or two for names longer than six letters; capital letters and `-` for `_` count as such too.
    A number behind one of ours (`gpu2`, `worker-1`) is the site's own subgroup.
    """
    if group in _OURS or group in ANSIBLES_OWN or group in _NOT_A_TYPO:
        return ""
    plain = _plain(group)
    best = (99, 99, "")
    for ours in _OURS:
        target = _plain(ours)
        if re.fullmatch(re.escape(target) + r"_?\d+", plain):
            return ""
        edits = distance(plain, target) if abs(len(plain) - len(target)) <= 2 else 99
        if edits <= (1 if len(target) <= 6 else 2):
            best = min(best, (edits, distance(group, ours), ours))
    return best[2]


def _plain(name: str) -> str:
    return name.lower().replace("-", "_")


def node_name_fault(name: str) -> tuple[str, str]:
    """(what is wrong, a name that would do) of a host name that cannot name a Kubernetes node; ("", "") if it can."""
    if address(name) and ":" in name:
        return "an IPv6 address cannot name a node", "node1"
    labels = name.split(".")
    mended = (re.sub(r"[^a-z0-9-]+", "-", label).strip("-") for label in name.lower().split("."))
    better = ".".join(label for label in mended if label)
    if len(name) > _MAX_NAME:
        fault = f"it has {len(name)} characters, at most {_MAX_NAME} fit into a node's hostname label"
        return fault, better[:_MAX_NAME].strip("-.")
    if all(_LABEL.fullmatch(label) for label in labels):
        return "", ""
    if name != name.lower() and all(_LABEL.fullmatch(label) for label in name.lower().split(".")):
        return "node names are lower case (RFC 1123)", better
    return "lower-case letters, digits, `-` and `.` are allowed (RFC 1123), a letter or digit at either end", better


def address(text: str) -> IPv4Address | IPv6Address | None:
    """The IP address this text is, or None."""
    try:
        return ip_address(text)
    except ValueError:
        return None


def address_fault(text: str) -> str:
    """What is wrong with something SSH is to connect to; "" for an address, a DNS name or an ssh_config alias."""
    if address(text.partition("%")[0]):
        return ""
    if "@" in text:
        return "the user belongs into ansible_user"
    if re.fullmatch(r"\[?[^\[\]:]+\]?:\d*", text):
        return "the port belongs into ansible_port"
    if re.fullmatch(r"[0-9.]+", text):
        return "that is not an IPv4 address"
    if ":" in text:
        return "that is not an IPv6 address"
    if not re.fullmatch(r"[A-Za-z0-9_]([-A-Za-z0-9_.]*[A-Za-z0-9_])?\.?", text):
        return "that is neither an address nor a DNS name"
    return ""
