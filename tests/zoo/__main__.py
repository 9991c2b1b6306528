"""The zoo's own commands: `list`, `make`, `score`, `show`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.zoo import split
from tests.zoo.cache import SMALL_DIR, default_dir, load_run, split_by_presence
from tests.zoo.card import card
from tests.zoo.report import Card
from tests.zoo.split import PARTS, Run


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit status."""
    args = _parser().parse_args(argv)
    try:
        return {"list": _list, "make": _make, "score": _score, "show": _show}[args.command](args)
    except BrokenPipeError:          # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (FileNotFoundError, ValueError) as error:
        print(f"tests.zoo: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m tests.zoo", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="the kinds, and what each is for")
    make = commands.add_parser("make", help="train and record; goes on where it was interrupted")
    make.add_argument("directory", nargs="?", type=Path, metavar="DIR", help="default: a cache outside the repository")
    make.add_argument("--part", choices=(*PARTS, "all"), default="score")
    make.add_argument("--jobs", type=int, default=1)
    make.add_argument("--kind", action="append", help="only this kind; may be repeated")
    make.add_argument("--seed", type=int, action="append", help="these seeds instead of the part's; with --kind")
    score = commands.add_parser("score", help="judge, and print the scorecard")
    score.add_argument("--part", choices=PARTS, default="score")
    score.add_argument("--from", dest="directory", type=Path, metavar="DIR")
    score.add_argument("--kind", action="append")
    score.add_argument("--curves", action="store_true", help="the labelled curves beside the repository instead")
    score.add_argument("--json", action="store_true")
    score.add_argument("--markdown", action="store_true")
    show = commands.add_parser("show", help="all that is said of one run, and what is true of it")
    show.add_argument("kind")
    show.add_argument("seed", type=int)
    show.add_argument("--from", dest="directory", type=Path, metavar="DIR")
    show.add_argument("--plot", action="store_true")
    return parser


def _kinds(chosen: Sequence[str] | None = None) -> list[str]:
    from tests.zoo.kinds import KINDS

    for name in chosen or ():
        if name not in KINDS:
            raise ValueError(f"no kind is called {name!r}; python -m tests.zoo list names them")
    return [name for name in KINDS if not chosen or name in chosen]


def _directory(args: argparse.Namespace) -> Path:
    return args.directory or (SMALL_DIR if getattr(args, "part", None) == "small" else default_dir())


def _list(_: argparse.Namespace) -> int:
    from tests.zoo.kinds import KINDS

    print(f"{'kind':<32}{'part':<10}{'':<14}first causes")
    for name, kind in KINDS.items():
        part = "score" if split.is_held_out(name) else "both"
        fate = "healthy" if kind.healthy else "catastrophic" if kind.catastrophic else "sick"
        print(f"{name:<32}{part:<10}{fate:<14}{', '.join(kind.causes)}".rstrip())
    return 0


def _make(args: argparse.Namespace) -> int:
    from tests.zoo.making import make_all

    kinds = _kinds(args.kind)
    if args.seed and not args.kind:
        raise ValueError("--seed was given without --kind: say which kind")
    if args.seed:
        wanted = [Run(kind, seed) for kind in kinds for seed in args.seed]
    else:
        wanted = [run for part in (PARTS[:2] if args.part == "all" else (args.part,)) for run in split.runs(part, kinds)]
    failed = make_all(wanted, _directory(args), jobs=max(1, args.jobs), thin=args.part == "small")
    for run in failed:
        print(f"tests.zoo: {run.name} failed", file=sys.stderr)
    return 1 if failed else 0


def _score(args: argparse.Namespace) -> int:
    if args.curves:
        from tests.zoo.curves import recordings

        return _print(card("The labelled curves", recordings()), args)
    directory = _directory(args)
    wanted = split.runs(args.part, _kinds(args.kind))
    there, missing = split_by_presence(directory, wanted)
    if not there:
        raise FileNotFoundError(f"no recording of this part in {directory}: python -m tests.zoo make --part {args.part}")
    what = f"The {args.part} part of the zoo: {len(there)} of {len(wanted)} runs" + (
        f" ({len(missing)} are still to be made)" if missing else ""
    )
    held_out = {run.kind for run in there if split.is_held_out(run.kind)}
    what += "; * kinds that nothing was tuned on" if held_out else ""
    return _print(card(what, (load_run(directory, run) for run in there), held_out=held_out), args)


def _print(found: Card, args: argparse.Namespace) -> int:
    if args.json:
        print(json.dumps(found.json(), indent=1, allow_nan=False))
    else:
        print(found.markdown() if args.markdown else found.text(), end="")
    return 0


def _show(args: argparse.Namespace) -> int:
    from tests.zoo.show import told

    run = Run(args.kind, args.seed)
    where = args.directory or (SMALL_DIR if args.seed == split.SMALL_SEED else default_dir())
    print(told(load_run(where, run), plot=args.plot), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
