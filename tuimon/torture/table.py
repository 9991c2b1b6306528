"""The list of faults: one literal table, for the command and for the tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tuimon.torture import disks, processes, rivals, runs
from tuimon.torture.bench import Bench


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong. Its function is also its name, and says in its docstring what is done."""

    do: Callable[[Bench], int]
    """Do it once: rows lost. Broken where what must hold did not, Skipped where this machine does not allow it."""
    holds: str
    """What must hold."""

    @property
    def name(self) -> str:
        """As it is asked for."""
        return self.do.__name__.replace("_", "-")

    @property
    def done(self) -> str:
        """What is done."""
        return " ".join((self.do.__doc__ or "").split())


ON: Final = "training goes on, nothing is lost"
ALONE: Final = "it goes, training stays"
PREFIX: Final = "the log is whole up to a fraction of a second before"
BEGINNING: Final = "training ends well, the log is a true beginning"
UNMOVED: Final = "workers record nothing, training everything"
FAULTS: Final[tuple[Fault, ...]] = (
    Fault(processes.kill_training, PREFIX),
    Fault(processes.kill_while_saving, "every checkpoint is whole, what was half-written is swept"),
    Fault(processes.stop_training, "it goes on, answers, and has lost nothing"),
    Fault(processes.interrupt_training, "all is written, with how it ended"),
    Fault(processes.hang_up_training, PREFIX),
    Fault(processes.break_writer, "recording goes on"),
    Fault(processes.kill_viewer, ON),
    Fault(processes.stop_viewer, ON),
    Fault(processes.end_viewer, ALONE),
    Fault(processes.stall_terminal, ALONE),
    Fault(processes.close_terminal, ALONE),
    Fault(disks.fill_disk, ON),
    Fault(disks.fill_disk_for_ever, BEGINNING),
    Fault(disks.fill_while_saving, "the checkpoint before stays, the next one succeeds"),
    Fault(disks.remove_directory, "training goes on unrecorded"),
    Fault(disks.forbid_directory, ON),
    Fault(disks.fail_operation, ON),
    Fault(disks.fail_for_ever, BEGINNING),
    Fault(disks.every_operation, "nothing is raised, nothing is untrue"),
    Fault(disks.send_on_a_bad_disk, "it arrives whole, or the sender knows that it did not"),
    Fault(disks.save_on_a_bad_disk, "the checkpoint before stays, nothing is left about"),
    Fault(disks.slow_disk, ON),
    Fault(disks.hang_disk, ON),
    Fault(disks.hang_at_the_end, "the process ends"),
    Fault(runs.set_clock, "nothing is lost, no step takes a day, the run is live"),
    Fault(runs.two_trainings, "the second is refused in one line"),
    Fault(runs.race_for_a_directory, "one gets it"),
    Fault(runs.train_again, "no old command reaches the new attempt"),
    Fault(runs.fork_workers, UNMOVED),
    Fault(runs.spawn_workers, UNMOVED),
    Fault(rivals.conflicting_commands, "each command has one answer, and of two that cross one is obeyed"),
    Fault(runs.junk_for_commands, "only commands are obeyed"),
    Fault(runs.odd_values, "numbers are kept, the rest is said once"),
    Fault(runs.odd_parameters, "all is recorded, and trained as without tuimon"),
    Fault(runs.many_tensors, "all is recorded"),
    Fault(runs.raising_script, "the script sees its errors, tuimon goes on"),
)
NAMES: Final = {fault.name: fault for fault in FAULTS}
