"""What people write in flags, made into what Kubernetes wants; what can't be meant so is said with the flag's name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import Any

from arena_install.errors import ConfigError

Object = dict[str, Any]

_LABEL = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
_SUBDOMAIN = re.compile(r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
_KEY = re.compile(r"^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$")
_VALUE = re.compile(r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$")
_ENV = re.compile(r"^[-._a-zA-Z][-._a-zA-Z0-9]*$")
_QUANTITY = re.compile(r"^(\d+(?:\.\d*)?|\.\d+)(m|k|Ki|M|Mi|G|Gi|T|Ti|P|Pi|E|Ei|[eE][+-]?\d+)?$")
_SCALE = {"": Decimal(1), "m": Decimal("0.001"), "k": Decimal(10) ** 3} | {
    f"{letter}{i}": Decimal(1024) ** n if i else Decimal(1000) ** n
    for n, letter in enumerate(("K", "M", "G", "T", "P", "E"), 1)
    for i in ("", "i")
}
_IMAGE = re.compile(r"^[a-z0-9]([\w.:/@-]*[A-Za-z0-9_])?$")
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")

#: Upstream's bound: pods, services and labels add to a job's name, and 63 characters are all that they may have.
NAME_LENGTH = 49


def job_name(text: str, flag: str = "--name") -> str:
    if len(text) > NAME_LENGTH:
        what = f"{flag}: {text[:20]}... has {len(text)} characters"
        raise ConfigError(what, why=f"{NAME_LENGTH} are allowed: pods and services add to it")
    if not _LABEL.match(text):
        guess = re.sub(r"[^a-z0-9-]+", "-", text.lower()).strip("-")
        fix = f"write --name {guess}" if _LABEL.match(guess) else ""
        why = "lower-case letters, digits and hyphens are allowed, a letter or digit first and last"
        raise ConfigError(f"{flag}: {text!r} is not a name that Kubernetes takes", why=why, fix=fix)
    if flag == "--name" and text[0].isdigit():
        why = "Services are called so, and a Service's name begins with a letter"
        raise ConfigError(f"{flag}: {text!r} begins with a digit", why=why, fix=f"write --name job-{text}")
    return text


def object_name(flag: str, text: str) -> str:
    """The name of something that is there already: a queue, a Secret, a class."""
    if len(text) > 253 or not _SUBDOMAIN.match(text):
        raise ConfigError(
            f"{flag}: {text!r} can't be the name of anything in Kubernetes",
            why="lower-case letters, digits, hyphens and dots are allowed",
        )
    return text


def namespace(text: str) -> str:
    if len(text) > 63 or not _LABEL.match(text):
        raise ConfigError(
            f"--namespace: {text!r} can't be a namespace",
            why="lower-case letters, digits and hyphens are allowed, at most 63",
        )
    return text


def pairs(flag: str, items: Iterable[str]) -> list[tuple[str, str]]:
    """KEY=VALUE, cut at the first "="."""
    found = []
    for item in items:
        key, equals, value = item.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"{flag}: {item!r} is not KEY=VALUE", fix=f"write {flag} {key.strip() or 'KEY'}=VALUE")
        found.append((key.strip(), value))
    return found


def env(flag: str, items: Iterable[str]) -> dict[str, str]:
    found = dict(pairs(flag, items))
    for key in found:
        if not _ENV.match(key):
            raise ConfigError(
                f"{flag}: {key!r} is not the name of an environment variable",
                why="letters, digits and underscores, no digit first",
            )
    return found


def labels(flag: str, items: Iterable[str]) -> dict[str, str]:
    found = dict(pairs(flag, items))
    for key, value in found.items():
        _key(flag, key)
        if not _VALUE.match(value):
            raise ConfigError(
                f"{flag}: {value!r} can't be a label's value",
                why="at most 63 letters, digits, '-', '_' and '.'",
                fix="an --annotation takes any text",
            )
    return found


#: By these arena finds what belongs to a job; a label of the user's can't be one of them.
RESERVED = ("app", "release", "chart", "heritage", "createdBy", "servingName", "servingType", "servingVersion")


def own_labels(items: Iterable[str]) -> dict[str, str]:
    """Of --label."""
    found = labels("--label", items)
    for key in found:
        if key in RESERVED:
            raise ConfigError(f"--label: {key} is arena's own", why="it finds jobs by it", fix="choose another key")
    return found


def notes(flag: str, items: Iterable[str]) -> dict[str, str]:
    found = dict(pairs(flag, items))
    for key in found:
        _key(flag, key)
    return found


def _key(flag: str, key: str) -> None:
    if not _KEY.match(key):
        raise ConfigError(f"{flag}: {key!r} can't be a key", why="[PREFIX/]NAME, of letters, digits, '-', '_' and '.'")


def amount(flag: str, text: str) -> Decimal:
    """A quantity as Kubernetes writes them ("500m", "2Gi")."""
    match = _QUANTITY.match(text)
    if not match:
        near = re.sub(r"(?i)([kmgtp])i?b$", lambda m: f"{m[1].upper()}i", text.strip().replace(" ", ""))
        fix = f"write {near}" if near != text and _QUANTITY.match(near) else "write 500m, 2, 512Mi or 16Gi"
        raise ConfigError(f"{flag}: {text!r} is not a quantity", fix=fix)
    unit = match[2] or ""
    if unit[:1] in ("e", "E") and unit not in _SCALE:
        return Decimal(text)
    return Decimal(match[1]) * _SCALE[unit]


def cpu(flag: str, text: str) -> str:
    if text and amount(flag, text) > 4096:
        raise ConfigError(f"{flag}: {text} is more CPUs than any machine has", fix="500m is half a CPU, 2 are two")
    return text


def memory(flag: str, text: str) -> str:
    if text and amount(flag, text) < 1024 * 1024:
        raise ConfigError(f"{flag}: {text} is {amount(flag, text)} bytes of memory", fix=f"write {text.rstrip('m')}Gi?")
    return text


def not_more(flag: str, requested: str, limit_flag: str, limit: str) -> None:
    if requested and limit and amount(flag, requested) > amount(limit_flag, limit):
        raise ConfigError(f"{flag} {requested} is more than {limit_flag} {limit}", fix="raise the limit")


def at_least(flag: str, number: int, least: int = 0, most: int = 100_000) -> int:
    if number < least:
        raise ConfigError(f"{flag}: {number} is too small", why=f"at least {least} is needed")
    if number > most:
        raise ConfigError(f"{flag}: {number} is too large", why=f"at most {most} is allowed")
    return number


def port(flag: str, number: int) -> int:
    return at_least(flag, number, 1, 65535)


def image(flag: str, text: str) -> str:
    if not _IMAGE.match(text):
        why = "a name has lower-case letters, and no blanks" if text else ""
        raise ConfigError(
            f"{flag}: {text!r} is not the name of an image", why=why, fix="write NAME:TAG or REGISTRY/NAME:TAG"
        )
    name = text.partition("@")[0]
    if any(c.isupper() for c in name.rpartition("/")[0].partition("/")[2]):
        raise ConfigError(
            f"{flag}: {text!r} is not the name of an image",
            why="only its tag may have capital letters",
            fix=f"write {text.lower()}",
        )
    return text


def devices(items: Iterable[str], gpus: int) -> dict[str, str]:
    """RESOURCE=QUANTITY of other vendors."""
    found = dict(pairs("--device", items))
    for key, value in found.items():
        if key == "nvidia.com/gpu":
            raise ConfigError("--device: nvidia.com/gpu has a flag of its own", fix=f"write --gpus {value}")
        if "/" not in key:
            raise ConfigError(f"--device: {key!r} is not a resource", why="it has the vendor's prefix, as amd.com/gpu")
        _key("--device", key)
        if not value.isdigit():
            raise ConfigError(f"--device: {value!r} of {key} is not a whole number")
    return found


def claims(items: Iterable[str]) -> list[Object]:
    """PVC:/path[:ro]"""
    found: list[Object] = []
    for item in items:
        claim, colon, path = item.partition(":")
        if not colon or not claim or not path:
            raise ConfigError(
                f"--data: {item!r} is not PVC:/PATH",
                why="PVC is the name of a volume claim, PATH where it is in the container",
                fix="arena data list shows the claims that there are",
            )
        path, _, mode = path.partition(":")
        if mode not in ("", "ro"):
            raise ConfigError(f"--data: {item!r} ends in {mode!r}", fix="only :ro may follow the path, for read only")
        row: Object = {"claim": object_name("--data", claim), "path": mount("--data", path)}
        found.append(row | ({"readOnly": True} if mode else {}))
    return _apart("--data", found)


def host_paths(items: Iterable[str]) -> list[Object]:
    """HOST[:CONTAINER]"""
    found: list[Object] = []
    for item in items:
        host, _, inside = item.partition(":")
        found.append({"host": mount("--data-dir", host), "path": mount("--data-dir", inside or host)})
    return _apart("--data-dir", found)


def mount(flag: str, path: str) -> str:
    if not path.startswith("/") or ".." in PurePosixPath(path).parts or ":" in path or path == "/" or "\0" in path:
        raise ConfigError(f"{flag}: {path!r} can't be mounted", why="an absolute path is needed, other than /")
    return path.rstrip("/")


def _apart(flag: str, rows: list[Object]) -> list[Object]:
    paths = [row["path"] for row in rows]
    for path in paths:
        if paths.count(path) > 1:
            raise ConfigError(f"{flag}: {path} is given twice", fix="one place for each")
    return rows


def tolerations(items: Iterable[str]) -> list[Object]:
    """`all`, key[=value][:effect[,operator]] as upstream has it, or key[=value]:effect:operator[:seconds]."""
    found: list[Object] = []
    for item in items:
        if item == "all":
            found.append({"operator": "Exists"})
            continue
        key_value, *rest = re.split(r"[:,]", item)
        key, equals, value = key_value.partition("=")
        effect, operator, seconds, *more = [*rest, "", "", ""]
        if any(more):
            raise _toleration(item, "too many parts")
        if effect and effect not in _EFFECTS:
            raise _toleration(item, f"{effect!r} is no effect; there are {', '.join(_EFFECTS)}")
        operator = operator or ("Equal" if equals else "Exists")
        if operator not in ("Equal", "Exists"):
            raise _toleration(item, f"{operator!r} is no operator; there are Equal and Exists")
        if operator == "Exists" and value:
            raise _toleration(item, "Exists takes no value")
        if not key:
            raise _toleration(item, "there is no key")
        _key("--toleration", key)
        row: Object = {"key": key, "operator": operator}
        if operator == "Equal":
            row["value"] = value
        if effect:
            row["effect"] = effect
        if seconds:
            if effect != "NoExecute" or not seconds.isdigit():
                raise _toleration(item, "seconds are a whole number, and go with NoExecute")
            row["tolerationSeconds"] = int(seconds)
        found.append(row)
    return found


def _toleration(item: str, why: str) -> ConfigError:
    return ConfigError(
        f"--toleration: {item!r} can't be understood",
        why=why,
        fix="write KEY=VALUE:NoSchedule, KEY:NoExecute, KEY or all",
    )


def config_files(items: Sequence[str]) -> list[Object]:
    """FILE[:CONTAINERPATH], read here; without a path it lies where it lies here, as upstream has it."""
    found: list[Object] = []
    for number, item in enumerate(items):
        file, _, inside = item.partition(":")
        source = Path(file).expanduser()
        path = inside or str(source.absolute())
        if not path.startswith("/") or path.endswith("/"):
            raise ConfigError(
                f"--config-file: {path!r} can't be a file's place in the container",
                why="an absolute path is needed, with the file's name",
            )
        try:
            content = source.read_text("utf-8")
        except UnicodeDecodeError as error:
            raise ConfigError("--config-file: this is no text", where=file, fix="put it into a volume") from error
        except OSError as error:
            raise ConfigError("--config-file: it can't be read", where=file, why=str(error.strerror)) from error
        if len(content) > 900_000:
            raise ConfigError(
                "--config-file: it is too large",
                where=file,
                why="a ConfigMap holds at most 1 MiB",
                fix="put it into a volume",
            )
        found.append(
            {"key": f"{number}-{re.sub(r'[^-._a-zA-Z0-9]', '_', source.name)}", "path": path, "content": content}
        )
    return found
