"""`arena version`."""

from __future__ import annotations

from arena_cli.command import Verb
from arena_cli.flags import Flag, Given


def _run(given: Given) -> None:
    import platform

    from arena_install import __version__

    if given.on("short"):
        print(f"arena: v{__version__}")
        return
    print(f"arena: v{__version__}")
    print("  Compatible: v0.15.5 of Kubeflow's arena")
    print(f"  Python: {platform.python_version()}")
    print(f"  Platform: {platform.system().lower()}/{platform.machine()}")
    if given.on("verbose"):
        from arena_cli import charts

        print(f"  ChartsHome: {charts.folder()}")
        print("  ChartsVersion:")
        for chart in sorted(path.parent.name for path in charts.folder().glob("*job/Chart.yaml")):
            print(f"    {chart}: {charts.version(chart)}")


verb = Verb(
    "version",
    "Print the version.",
    (Flag("short", "switch", "Only that."), Flag("verbose", "switch", "With the charts.", short="v")),
    _run,
)
