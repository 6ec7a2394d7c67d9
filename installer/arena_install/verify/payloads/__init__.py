"""Scripts that run inside the cluster, mounted from a ConfigMap at /payload. They need only Python's standard library
and what the verify-pytorch image has (torch, numpy, pynvml), and import one another as top-level modules."""
