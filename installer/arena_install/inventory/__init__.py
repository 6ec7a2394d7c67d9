"""What is wanted: hosts.ini and cluster.yaml, read once, checked, and frozen into a Cluster.

One public function, `load`, makes it; everything later in the pipeline takes a Cluster and reads no file of the user's.
"""

from arena_install.inventory.cluster import ALIASES, GROUPS, Cluster, Host, Source
from arena_install.inventory.config import Config
from arena_install.inventory.load import load, overlay
from arena_install.inventory.settings import config_schema, explain

__all__ = ["ALIASES", "GROUPS", "Cluster", "Config", "Host", "Source", "config_schema", "explain", "load", "overlay"]
