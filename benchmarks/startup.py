"""How long `main.py --help` takes, as a ratio to importing typer and rich alone.

    python benchmarks/startup.py [--rounds 15]

Both run as fresh processes, in turns, and are compared by CPU time. Claim: below 3.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
from pathlib import Path

MAIN = Path(__file__).parents[1] / "main.py"
COMMANDS = {
    "main.py --help": [sys.executable, str(MAIN), "--help"],
    "import typer, rich": [sys.executable, "-c", "import typer, rich"],
}


def cpu_seconds(command: list[str]) -> float:
    """User and system time of a process, children included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    for command in COMMANDS.values():
        cpu_seconds(command)
    times = [{name: cpu_seconds(command) for name, command in COMMANDS.items()} for _ in range(rounds)]
    ratios = sorted(row["main.py --help"] / row["import typer, rich"] for row in times)
    for name in COMMANDS:
        print(f"{name:20} {1000 * statistics.median(row[name] for row in times):6.0f} ms CPU")
    spread = f"{ratios[len(ratios) // 10]:.2f} to {ratios[-1 - len(ratios) // 10]:.2f}"
    print(f"ratio                {statistics.median(ratios):6.2f} (10th to 90th percentile {spread}; claim: below 3)")


if __name__ == "__main__":
    main()
