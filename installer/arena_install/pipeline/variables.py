"""What Ansible is told, in two drawers.

`fleet` are the arena_* variables: ours alone, the same for every host, given as extra variables. `defaults` are
variables of roles that cluster.yaml decides but an inventory may override per group or host; they go into an
inventory source that stands before the user's own, so that the user's wins.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from arena_install import paths, stack
from arena_install.errors import ConfigError
from arena_install.inventory.cluster import Cluster, Host


def registry_host(cluster: Cluster) -> Host:
    return (cluster.group("registry") or cluster.group("control_plane"))[0]


def node_address(host: Host) -> str:
    """The address other hosts reach it at. Raises ConfigError when the inventory does not say."""
    if host.node_ip:
        return host.node_ip
    raise ConfigError(
        f"the node address of {host.name} is not known",
        where=str(host.source),
        why=f"its SSH address {host.address!r} is a name, and other hosts need an IP address",
        fix="add ip=ADDRESS to the host's line",
    )


def fleet(cluster: Cluster, resolved_file: Path, kubeconfig: Path) -> dict[str, Any]:
    """Extra variables for every playbook run."""
    config = cluster.config
    return {
        "arena_cluster_name": cluster.name,
        "arena_artifacts_dir": str(paths.cache_dir()),
        "arena_resolved_file": str(resolved_file),
        "arena_pod_cidr": str(config.kubernetes.pod_cidr),
        "arena_service_cidr": str(config.kubernetes.service_cidr),
        "arena_cluster_domain": config.kubernetes.cluster_domain,
        "arena_api_endpoint": cluster.api_endpoint,
        "arena_taint_control_plane": cluster.taint_control_plane,
        "arena_registry_address": node_address(registry_host(cluster)),
        "arena_kubeconfig": str(kubeconfig),
        "arena_leaves": sorted({leaf for row in stack.catalogue().values() for leaf in row.leaves}),
    }


def defaults(cluster: Cluster) -> dict[str, Any]:
    """Role variables out of cluster.yaml that an inventory may override."""
    gpu = cluster.config.gpu
    return {
        "nvidia_driver_mode": gpu.driver,
        "nvidia_driver_simulated_count": gpu.simulated.count,
        "nvidia_driver_simulated_model": gpu.simulated.model,
        "nvidia_driver_simulated_memory_mib": gpu.simulated.memory_mib,
        "nvidia_driver_simulated_driver_version": gpu.simulated.driver_version,
    }
