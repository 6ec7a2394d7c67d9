"""cluster.yaml: optional, typed, every default in one place (`arena-install plan --explain` shows them).

Unknown keys are errors. The JSON schema of this model is what `arena-install schema config` prints.
"""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Name = Annotated[str, Field(pattern=r"^[a-z]([-a-z0-9]{0,30}[a-z0-9])?$")]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Kubernetes(_Section):
    """Networks are CIDRs; they must not overlap each other."""

    pod_cidr: IPv4Network = IPv4Network("10.244.0.0/16")
    service_cidr: IPv4Network = IPv4Network("10.96.0.0/12")
    cluster_domain: str = "cluster.local"
    api_endpoint: str = ""  # host:port of a load balancer; empty: the first control plane's address
    taint_control_plane: bool | None = None  # None: only if there are workers

    @model_validator(mode="after")
    def _networks_apart(self) -> Kubernetes:
        if self.pod_cidr.overlaps(self.service_cidr):
            raise ValueError(f"pod_cidr {self.pod_cidr} overlaps service_cidr {self.service_cidr}; choose two that do not")
        return self


class Artifacts(_Section):
    """Where versions named by components.lock.yaml come from."""

    way: Literal["auto", "release", "build", "bundle"] = "auto"
    mirrors: dict[str, str] = Field(default_factory=dict)  # upstream host -> https URL of a mirror
    proxy: str = ""  # http(s)://[user:password@]host:port for upstream; the password may be env:NAME
    no_proxy: list[str] = Field(default_factory=list)
    ca_file: str = ""  # PEM file trusted beside the system's
    pull_secrets: dict[str, str] = Field(default_factory=dict)  # registry host -> "user:password" or env:NAME
    bundle: str = ""  # file made by `arena-install bundle`
    compiler_cache: bool = False  # keep the Go compiler's cache (about 3 GiB) after a build


class SimulatedGpus(_Section):
    count: int = Field(default=4, ge=1, le=16)  # per host of group gpu
    model: str = "NVIDIA A100-SXM4-40GB"
    memory_mib: int = Field(default=40960, ge=256)
    driver_version: str = Field(default="580.95.05", pattern=r"^\d+\.\d+(\.\d+)?$")


class Gpu(_Section):
    driver: Literal["packages", "preinstalled", "simulated"] = "preinstalled"
    simulated: SimulatedGpus = SimulatedGpus()


class Lab(_Section):
    """Shape of the lab that `up` makes when no inventory is given."""

    control_planes: int = Field(default=1, ge=1, le=5)
    workers: int = Field(default=2, ge=0, le=50)

    @model_validator(mode="after")
    def _odd(self) -> Lab:
        if self.control_planes % 2 == 0:
            raise ValueError(f"control_planes must be odd (etcd needs a majority), got {self.control_planes}")
        return self


class Config(_Section):
    name: Name = "arena"
    profile: Literal["minimal", "full"] = "minimal"
    kubernetes: Kubernetes = Kubernetes()
    artifacts: Artifacts = Artifacts()
    gpu: Gpu = Gpu()
    lab: Lab = Lab()
    values: dict[str, dict[str, Any]] = Field(default_factory=dict)  # component -> Helm values of the user's own
