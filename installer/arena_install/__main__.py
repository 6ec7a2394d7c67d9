"""`python -m arena_install` is `arena-install`."""

from arena_install.cli.main import run

run()
