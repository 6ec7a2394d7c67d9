"""docs/faults.md out of what `make faults` saw. usage: page.py [FILE]"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from arena_install.artifacts import load_lock
from arena_install.lab import faults
from arena_install.verify import registry
from rehearsal import REPOSITORY, Seen, digest, load


def page(seen: dict[str, Seen]) -> str:
    known, checks = faults.load(), registry.load()
    good = {name: one for name, one in seen.items() if one.good}
    covered = {id for name in good for id in known[name].fails}
    days = sorted({time.strftime("%Y-%m-%d", time.gmtime(one.started)) for one in seen.values()})
    other = sum(one.digest != digest(known[name]) for name, one in seen.items())
    version = load_lock().components["kubernetes"].version
    lines = [
        "# Every check seen to fail",
        "",
        "Each fault was put into a running lab by `arena-install lab fault`: the checks concerned passed, failed while",
        "it was in, and passed again when it was mended; nothing failed beside them but what is named here. Written by",
        "`make faults`, nothing entered by hand. Seconds are of this run, on a machine that did other work too.",
        "",
        f"Run of {' to '.join(dict.fromkeys((days[0], days[-1])))}, Kubernetes {version}: {len(good)} of {len(known)} "
        f"faults went pass, fail, mend, pass as they declare; {len(covered)} of {len(checks)} checks failed under a "
        "fault of their own" + (f"; {other} were run with other code than today's." if other else "."),
        "",
        "| fault | what happens | fails | fails or is left out with it | doctor | shows after | mended after |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [_row(known[name], seen.get(name)) for name in known]
    if aside := sorted({id for one in seen.values() for id in one.aside}):
        lines += ["", "Not compared in this run, since they did not pass before: " + ", ".join(aside) + "."]
    if missing := [id for id in checks if id not in covered]:
        lines += ["", "Not yet seen to fail: " + ", ".join(f"`{id}`" for id in missing) + "."]
    return "\n".join(lines) + "\n"


def _row(fault: faults.Fault, one: Seen | None) -> str:
    cells = [f"`{fault.name}`", fault.title, "<br>".join(fault.fails)]
    if one is None:
        return f"| {' | '.join(cells)} | not run | | | |"
    if not one.good:
        return f"| {' | '.join(cells)} | NOT AS DECLARED: {'; '.join(one.problems)[:300]} | | | |"
    others = {id for id, status in one.during.items() if status != "pass"} - {*fault.fails, *fault.also, *fault.may}
    by_chance = [f"{id} (may)" for id in fault.may if one.during.get(id) != "pass"]
    more = [*fault.also, *by_chance, *([f"{len(others)} that need these"] if others else [])]
    named = f"names {fault.doctor}" if fault.doctor else ""
    cells += [", ".join(more), named, f"{one.seconds['inject']:.0f} s", f"{one.seconds['mend']:.0f} s"]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else REPOSITORY / "docs/faults.md"
    seen = {name: one for name in faults.load() if (one := load(name))}
    if not seen:
        sys.exit("nothing was run yet: make faults")
    target.write_text(page(seen))


if __name__ == "__main__":
    main()
