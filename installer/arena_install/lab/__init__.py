"""Hosts to install on, made on this machine: container hosts that run systemd and sshd, handed over as a hosts.ini."""

from arena_install.lab.image import remove_unused as remove_image
from arena_install.lab.model import Access, LabHost, LabInfo, inventory_file, shape
from arena_install.lab.provider import belongings, down, find, list_labs, shell_command, up

__all__ = [
    "Access", "LabHost", "LabInfo", "belongings", "down", "find", "inventory_file", "list_labs", "remove_image",
    "shape", "shell_command", "up",
]
