"""`tuimon notify`: who is told of what goes wrong, and whether a message arrives there."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from tuimon.record.printing import mention, print_words

if TYPE_CHECKING:
    from tuimon.notify.targets import Target

NOBODY = """nobody is told of what goes wrong; in config.toml ({path}):

    [notify]
    to = ["https://hooks.slack.com/services/...", "ntfy+https://ntfy.sh/a-topic-nobody-guesses", "a-command --of yours"]

or TUIMON_NOTIFY=..., or tuimon.attach(..., notify=...); then: tuimon notify test"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to do, and with whom."""
    parser.add_argument("what", nargs="?", choices=("show", "test"), default="show", metavar="{show,test}",
                        help="show who is told (the default), or send each of them a test message")
    parser.add_argument("target", nargs="*", metavar="TARGET",
                        help="URLs or commands to test instead of those that are configured")


def run(args: argparse.Namespace) -> int:
    """Tell, or try. Exit status 2 where a message did not arrive, or there is nobody."""
    import os

    from tuimon.config.file import config_path
    from tuimon.notify.begin import wanted
    from tuimon.record.text import clean

    wishes, problems = wanted(args.target or None)
    for problem in problems:
        mention(f"tuimon: {clean(problem, 1000)}")
    if not wishes.targets:
        mention(NOBODY.format(path=clean(config_path(os.environ) or "where HOME says", 1000)))
        return 2
    if args.what == "show":
        ends = ", ".join(wishes.ends) or "none"
        print_words(f"incidents from {wishes.severity} on; ends of a run: {ends}; told to:")
        for target in wishes.targets:
            print_words(f"  {clean(target.label)}")
        return 2 if problems else 0
    return max([_try(target, wishes.folder) for target in wishes.targets] + [2 if problems else 0])


def _try(target: Target, folder: str) -> int:
    """Send one message, and say what came of it."""
    import socket
    import time

    from tuimon.notify.channels import send
    from tuimon.notify.message import Message
    from tuimon.record.text import clean

    test = Message("test", "test", "info", "A test message of tuimon", "Whoever reads this is told when it matters.",
                   time=time.time(), host=socket.gethostname())
    begun = time.monotonic()
    outcome = send(target, test, folder)
    took = time.monotonic() - begun
    came = f"arrived, in {took:.1f} s" if outcome.arrived else f"not arrived: {clean(outcome.why)}"
    print_words(f"{clean(target.label)}: {came}", flush=True)
    return 0 if outcome.arrived else 2
