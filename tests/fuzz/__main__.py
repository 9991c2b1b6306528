"""Fuzz one reader. With atheris its coverage leads the way; without, or with --blind, bytes are changed by chance."""

from __future__ import annotations

import argparse
import hashlib
import random
import sys
import tempfile
import time
from pathlib import Path

LONGEST = 1 << 16


def main() -> int:
    """Exit status 0 where nothing was found; what was found is printed as it came, and kept beside the corpus."""
    parser = argparse.ArgumentParser("python -m tests.fuzz", description=__doc__)
    parser.add_argument("reader")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--corpus", type=Path, metavar="DIR", help="kept from night to night; default: begin anew")
    parser.add_argument("--blind", action="store_true", help="without atheris")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--input", type=Path, metavar="FILE", help="only this one, as it was found")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tuimon-fuzz-") as root:
        return (_blind if args.blind or args.input else _guided)(args, Path(root))


def _folders(root: Path) -> tuple[Path, Path]:
    at, seeds = root / "at", root / "seeds"
    for path in (at, seeds):
        path.mkdir(mode=0o700)
    return at, seeds


def _blind(args: argparse.Namespace, root: Path) -> int:
    from tests.fuzz.blind import mutated
    from tests.fuzz.readers import READERS

    reader, (at, seeds) = READERS[args.reader], _folders(root)
    if args.input:
        reader.read(at, args.input.read_bytes())
        return 0
    chance, known, until, count = random.Random(args.seed), reader.seeds(seeds), time.monotonic() + args.seconds, 0
    while time.monotonic() < until:
        data = mutated(chance, known)
        count += 1
        try:
            reader.read(at, data)
        except Exception:
            found = Path(tempfile.gettempdir()) / f"fuzz-{args.reader}-{hashlib.sha1(data).hexdigest()[:12]}"
            found.write_bytes(data)
            print(f"{args.reader}: found after {count} inputs: {found}", file=sys.stderr)
            raise
    print(f"{args.reader}: {count} inputs, blind, nothing found")
    return 0


def _guided(args: argparse.Namespace, root: Path) -> int:
    import atheris

    from tests.fuzz.blind import mutated

    with atheris.instrument_imports(include=["tuimon"]):
        from tests.fuzz.readers import READERS

    def change(data: bytes, most: int, seed: int) -> bytes:
        """Every third time as without guidance: it knows what a number looks like."""
        return atheris.Mutate(data, most) if seed % 3 or not data else mutated(random.Random(seed), [data])[:most]

    reader, (at, seeds) = READERS[args.reader], _folders(root)
    corpus = args.corpus or root / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for i, data in enumerate(reader.seeds(seeds)):
        (corpus / f"seed-{i}").write_bytes(data)
    words = [sys.argv[0], str(corpus), f"-max_total_time={args.seconds}", f"-max_len={LONGEST}", "-timeout=25", "-rss_limit_mb=3000",
             f"-artifact_prefix={tempfile.gettempdir()}/fuzz-{args.reader}-", "-print_final_stats=1", f"-seed={args.seed}"]
    atheris.Setup(words, lambda data: reader.read(at, data), custom_mutator=change)
    atheris.Fuzz()   # ends the process
    return 0


if __name__ == "__main__":
    sys.exit(main())
