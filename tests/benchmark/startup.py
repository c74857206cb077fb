"""CPU seconds of ``cryoembed --help`` and ``cryoembed info FILE``: ``python -m tests.benchmark.startup [FILE]``."""

import resource
import statistics
import subprocess
import sys

REPEATS = 7


def cpu_seconds(*arguments: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "cryoembed", *arguments], capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    for arguments in (["--help"], *(["info", path] for path in sys.argv[1:])):
        seconds = sorted(cpu_seconds(*arguments) for _ in range(REPEATS))
        spread = f"(min {seconds[0]:.2f}, max {seconds[-1]:.2f}, {REPEATS} runs)"
        print(f"cryoembed {' '.join(arguments)}: {statistics.median(seconds):.2f} CPU s {spread}")


if __name__ == "__main__":
    main()
