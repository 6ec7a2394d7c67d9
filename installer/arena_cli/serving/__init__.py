"""Serving: a model server behind a Service. A serving job is a Deployment with labels of its name, type and version."""
