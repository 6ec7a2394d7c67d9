"""docs/faults.md out of what `make faults` saw. usage: page.py [FILE]"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from arena_install.artifacts import load_lock
from arena_install.lab import faults
from arena_install.verify import registry
from rehearsal import PAGE, Seen, digest, load, on_page


def page(seen: dict[str, Seen], before: dict[str, tuple[str, str]]) -> str:
    """before: rows of earlier runs, by fault, with the digest of what they are about."""
    known, checks = faults.load(), registry.load()
    of = {name: one.digest for name, one in seen.items() if one.good}
    of |= {name: digest for name, (digest, _) in before.items() if name in known and name not in seen}
    covered = {id for name in of for id in known[name].fails}
    old = sum(found != digest(known[name]) for name, found in of.items())
    version = load_lock().components["kubernetes"].version
    lines = [
        "# Every check seen to fail",
        "",
        "Each fault was put into a running lab by `arena-install lab fault`: the checks concerned passed, failed while",
        "it was in, and passed again when it was mended; nothing failed beside them but what is named here. Written by",
        "`make faults`, nothing entered by hand. Seconds are of that run, on a machine that did other work. The last",
        "column has the day, and a digest of the fault and of its checks' code: `make faults` repeats what changed.",
        "",
        f"Kubernetes {version}: {len(of)} of {len(known)} faults went pass, fail, mend, pass as they declare; "
        f"{len(covered)} of {len(checks)} checks failed under a fault of their own"
        + (f"; {old} were run with other code than today's." if old else "."),
        "",
        "| fault | what happens | fails | fails or is left out with it | doctor | shows after | mended after | seen |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [_row(known[name], seen.get(name), before.get(name, ("", ""))[1]) for name in known]
    if aside := sorted({id for one in seen.values() for id in one.aside}):
        lines += ["", "Not compared everywhere, since they did not always pass before: " + ", ".join(aside) + "."]
    if missing := [id for id in checks if id not in covered]:
        lines += ["", "Not yet seen to fail: " + ", ".join(f"`{id}`" for id in missing) + "."]
    return "\n".join(lines) + "\n"


def _row(fault: faults.Fault, one: Seen | None, before: str) -> str:
    cells = [f"`{fault.name}`", fault.title, "<br>".join(fault.fails)]
    if one is None:
        return before or f"| {' | '.join(cells)} | not run | | | | |"
    if not one.good:
        told = "; ".join(one.problems).splitlines()
        return f"| {' | '.join(cells)} | NOT AS DECLARED: {told[0][:300] if told else 'broken off'} | | | | |"
    others = {id for id, status in one.during.items() if status != "pass"} - {*fault.fails, *fault.also, *fault.may}
    by_chance = [f"{id} (may)" for id in fault.may if one.during.get(id) != "pass"]
    more = [*fault.also, *by_chance, *([f"{len(others)} that need these"] if others else [])]
    named = f"names {fault.doctor}" if fault.doctor else ""
    day = time.strftime("%Y-%m-%d", time.gmtime(one.started))
    cells += [", ".join(more), named, f"{one.seconds['inject']:.0f} s", f"{one.seconds['mend']:.0f} s"]
    return f"| {' | '.join(cells)} | {day} `{one.digest}` |"


def main() -> None:
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE
    seen = {name: one for name in faults.load() if (one := load(name))}
    if not seen:
        sys.exit("nothing was run here: make faults")
    target.write_text(page(seen, on_page()))


if __name__ == "__main__":
    main()
