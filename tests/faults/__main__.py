"""`python -m tests.faults`: kills, flips, full disks and dead servers, with a tally."""

import argparse
import tempfile
from pathlib import Path

from tests.faults.tally import FAULTS, Study


def main() -> None:
    """Tries every fault, and prints what held."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--number", type=int, default=20, help="of random faults of each kind and stage")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=list(FAULTS), action="append", help="these kinds of faults")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        study = Study(Path(directory), options.number, options.seed)
        print(f"seed {options.seed}, {options.number} of each random fault; the stages undisturbed:", flush=True)
        print("  " + ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in study.seconds.items()), flush=True)
        tallies = [tally for name in options.only or FAULTS for tally in FAULTS[name](study)]
    tried, held = (sum(getattr(tally, name) for tally in tallies) for name in ("tried", "held"))
    print(f"in all: tried {tried}, held {held}")
    raise SystemExit(tried != held)


if __name__ == "__main__":
    main()
