"""cluster.yaml: optional, typed, every default in one place (`arena-install plan --explain` shows them).

Unknown keys are errors. The JSON schema of this model is what `arena-install schema config` prints, and the
descriptions here are the reference that people read. A rule that concerns one key raises through `_wrong(key, ...)`,
so that the message can name the line of that key.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, ip_address
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

Name = Annotated[str, Field(pattern=r"^[a-z]([-a-z0-9]{0,30}[a-z0-9])?$")]
Count = Annotated[int, Field(strict=True)]
Switch = Annotated[bool, Field(strict=True)]

_DOMAIN = re.compile(r"(?=.{1,253}$)[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*")

#: kubeadm gives every node a /24 of the pod network and allows 16 bits between the two; a service network may have 20
#: bits of addresses and needs at least ten (kubeadm's ValidatePodSubnetNodeMask and ValidateIPNetFromString rules).
NODE_PREFIX = 24
_POD_PREFIXES = range(8, NODE_PREFIX + 1)
_SERVICE_PREFIXES = range(12, 29)


def _rule(message: str) -> PydanticCustomError:
    return PydanticCustomError("rule", "{message}", {"message": message})


def _wrong(key: str, message: str) -> PydanticCustomError:
    return PydanticCustomError("rule", "{message}", {"message": message, "key": key})


def is_domain(text: str) -> bool:
    """Whether this is a DNS name (RFC 1123 labels, lower case)."""
    return _DOMAIN.fullmatch(text) is not None


def split_endpoint(endpoint: str) -> tuple[str, int]:
    """ "10.0.0.9:6443" -> its host and port. Raises ValueError, saying what is wrong, for anything else."""
    if "://" in endpoint:
        raise ValueError("a scheme does not belong here")
    host, colon, port = endpoint.rpartition(":")
    if not colon:
        raise ValueError("the port is missing")
    if not (port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
        raise ValueError(f"`{port}` is not a port (1 to 65535)")
    bare = host.removeprefix("[").removesuffix("]")
    try:
        address = ip_address(bare)
    except ValueError:
        if not is_domain(bare) or re.fullmatch(r"[0-9.]+", bare):
            raise ValueError(f"`{host}` is neither an address nor a DNS name") from None
        if bare == "localhost":
            raise ValueError("localhost is another machine on every node") from None
        return bare, int(port)
    if address.is_loopback or address.is_unspecified or address.is_multicast:
        raise ValueError(f"no other node can reach {address}")
    if not isinstance(address, IPv4Address):
        raise ValueError("IPv6 is not supported yet")
    return bare, int(port)


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Kubernetes(_Section):
    """Networks are CIDRs; they may overlap neither each other nor a host's address."""

    pod_cidr: IPv4Network = Field(
        default=IPv4Network("10.244.0.0/16"), description="network of the pods; each node gets a /24 of it"
    )
    service_cidr: IPv4Network = Field(default=IPv4Network("10.96.0.0/12"), description="network of the services")
    cluster_domain: str = Field(default="cluster.local", description="DNS domain of the cluster")
    api_endpoint: str = Field(
        default="", description="host:port of a load balancer; empty: the first control plane's address"
    )
    taint_control_plane: Switch | None = Field(
        default=None, description="whether control planes refuse jobs; null: only if there are workers"
    )

    @field_validator("pod_cidr", "service_cidr", mode="before")
    @classmethod
    def _network(cls, value: Any) -> Any:
        if isinstance(value, IPv4Network):
            return value
        try:
            if not isinstance(value, str) or "/" not in value:
                raise ValueError("no prefix length")
            return IPv4Network(value)
        except ValueError as error:
            message = f"expected an IPv4 network such as 10.244.0.0/16, got {value!r} ({error})"
            if "host bits set" in str(error):
                whole = IPv4Network(value, strict=False)
                message = f"{value} is an address inside a network; the network itself is {whole}"
            raise _rule(message) from None

    @field_validator("cluster_domain")
    @classmethod
    def _domain(cls, value: str) -> str:
        if not is_domain(value):
            raise _rule(f"expected a lower-case DNS name such as cluster.local, got {value!r}")
        return value

    @field_validator("api_endpoint")
    @classmethod
    def _endpoint(cls, value: str) -> str:
        if value:
            try:
                split_endpoint(value)
            except ValueError as error:
                raise _rule(f"expected host:port such as 10.0.0.9:6443, got {value!r}: {error}") from None
        return value

    @model_validator(mode="after")
    def _networks(self) -> Kubernetes:
        for key, network, sizes in (
            ("pod_cidr", self.pod_cidr, _POD_PREFIXES),
            ("service_cidr", self.service_cidr, _SERVICE_PREFIXES),
        ):
            if network.prefixlen not in sizes:
                raise _wrong(key, f"{network} has the wrong size; a prefix from /{sizes[0]} to /{sizes[-1]} is needed")
        if self.pod_cidr.overlaps(self.service_cidr):
            key = "pod_cidr" if "pod_cidr" in self.model_fields_set else "service_cidr"
            both = f"pod_cidr {self.pod_cidr} overlaps service_cidr {self.service_cidr}"
            raise _wrong(key, f"{both}; choose two that do not")
        return self


class Artifacts(_Section):
    """Where versions named by components.lock.yaml come from."""

    way: Literal["auto", "release", "build", "bundle"] = Field(
        default="auto",
        description="upstream's own files, the same built from source packages, or a bundle; auto: what is reachable",
    )
    mirrors: dict[str, str] = Field(default_factory=dict, description="upstream host -> https URL of a mirror")
    proxy: str = Field(
        default="", description="http(s)://[user:password@]host:port for upstream; the password may be env:NAME"
    )
    no_proxy: list[str] = Field(default_factory=list, description="hosts reached without the proxy")
    ca_file: str = Field(default="", description="PEM file trusted beside the system's; relative to cluster.yaml")
    pull_secrets: dict[str, str] = Field(
        default_factory=dict, description='registry host -> "user:password" or env:NAME'
    )
    bundle: str = Field(default="", description="file made by `arena-install bundle`; relative to cluster.yaml")
    compiler_cache: Switch = Field(
        default=False, description="keep the Go compiler's cache (about 3 GiB) after a build"
    )

    @field_validator("mirrors")
    @classmethod
    def _mirrors(cls, value: dict[str, str]) -> dict[str, str]:
        for host, url in value.items():
            if not _is_url(url, "https", "http"):
                raise _wrong(host, f"expected a URL such as https://mirror.example/path, got {url!r}")
        return value

    @field_validator("proxy")
    @classmethod
    def _proxy(cls, value: str) -> str:
        if value and not _is_url(value, "http", "https"):
            raise _rule("expected http://[user:password@]host:port")  # the value may hold a password: not repeated
        return value

    @field_validator("pull_secrets")
    @classmethod
    def _secrets(cls, value: dict[str, str]) -> dict[str, str]:
        for registry, secret in value.items():
            if ":" not in secret.strip(":"):
                raise _wrong(registry, 'expected "user:password" or env:NAME')
        return value

    @model_validator(mode="after")
    def _bundle(self) -> Artifacts:
        if self.way == "bundle" and not self.bundle:
            raise _wrong("way", "way is `bundle`, but no `bundle:` file is named beside it")
        return self


class SimulatedGpus(_Section):
    count: Count = Field(default=4, ge=1, le=16, description="per host of group gpu")
    model: str = Field(
        default="NVIDIA A100-SXM4-40GB", min_length=1, max_length=95
    )  # NVML's name buffer holds 96 bytes
    memory_mib: Count = Field(default=40960, ge=256)
    driver_version: str = Field(default="580.95.05", pattern=r"^\d+\.\d+(\.\d+)?$")


class Gpu(_Section):
    driver: Literal["packages", "preinstalled", "simulated"] = "preinstalled"
    simulated: SimulatedGpus = SimulatedGpus()
    verify_image: str = Field(
        default="",
        description="image with python3 and PyTorch for CUDA: suite scale measures NCCL with it; empty: gloo on CPUs",
    )


class Lab(_Section):
    """Shape of the lab that `up` makes when no inventory is given."""

    control_planes: Count = Field(default=1, ge=1, le=5)
    workers: Count = Field(default=2, ge=0, le=50)

    @model_validator(mode="after")
    def _odd(self) -> Lab:
        if self.control_planes % 2 == 0:
            raise _wrong("control_planes", f"must be odd (etcd needs a majority), got {self.control_planes}")
        return self


class Config(_Section):
    """The whole of cluster.yaml."""

    name: Name = Field(default="arena", description="names the cluster's state folder and context")
    profile: Literal["minimal", "full"] = Field(default="minimal", description="which components are installed")
    kubernetes: Kubernetes = Kubernetes()
    artifacts: Artifacts = Artifacts()
    gpu: Gpu = Gpu()
    lab: Lab = Lab()
    values: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="component -> Helm values of the user's own"
    )


def _is_url(text: str, *schemes: str) -> bool:
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return False
    return parts.scheme in schemes and bool(parts.hostname) and not re.search(r"\s", text)
