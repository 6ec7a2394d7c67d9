"""arena-install: from bare hosts to a verified GPU training cluster. docs/architecture.md explains the pipeline."""

__version__ = "0.1.0"
