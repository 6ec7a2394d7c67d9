"""A thin door to the Kubernetes API: kubeconfig, HTTP, plain dicts."""
