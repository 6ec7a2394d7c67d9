"""What NVIDIA's XID numbers mean, as far as it decides what to do: https://docs.nvidia.com/deploy/xid-errors/."""

from __future__ import annotations

#: A program's own fault, or news without need: the GPU is well.
HARMLESS = {
    13: "a program's kernel broke a rule of the graphics engine",
    31: "a program touched memory that is not its own",
    43: "a program's channel was reset",
    45: "a program was ended while it used the GPU",
    63: "a faulty row or page was recorded for replacement",
    68: "the video decoder met an error",
    69: "a program's kernel broke a rule of the compute engine",
    94: "a memory error was contained: the program that met it must start again",
    109: "a program took too long to give way to another",
}

#: The GPU needs help: number -> (meaning, what helps).
SERIOUS = {
    48: ("memory error that could not be corrected", "drain the node and reset the GPU: nvidia-smi -r"),
    64: ("a faulty row could not be replaced", "have the GPU exchanged"),
    74: ("NVLink error", "nvidia-smi nvlink -e; reset the GPUs, then check the board or its bridges"),
    79: (
        "the GPU has fallen off the bus",
        "power-cycle the host; if it comes again: power, riser, heat, then exchange",
    ),
    92: ("many memory errors that were corrected", "run dcgmi diag -r 3, have the GPU exchanged if it goes on"),
    95: ("a memory error was not contained", "drain the node and reset the GPU: nvidia-smi -r"),
    119: ("the GPU's system processor does not answer", "reset the GPU, or reboot; newer firmware often mends it"),
    120: ("the GPU's system processor met an error", "reset the GPU, or reboot; newer firmware often mends it"),
    140: ("memory error that could not be corrected", "drain the node and reset the GPU: nvidia-smi -r"),
}


def meaning(number: int) -> str:
    """A few words; those about unknown numbers say so."""
    if number in HARMLESS:
        return HARMLESS[number]
    return SERIOUS[number][0] if number in SERIOUS else "an error that is not in our table"


def remedy(number: int) -> str:
    """What to do on the host."""
    return SERIOUS[number][1] if number in SERIOUS else "look it up in NVIDIA's XID table; dmesg | grep -i nvrm"
