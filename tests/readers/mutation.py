"""Remove one check of the readers at a time, and see that a test fails: what no test misses may be wrong unseen.

`python tests/readers/mutation.py [N] [WORD]` tries N checks (0: all) of the readers whose path holds WORD, and names
the survivors.
"""

import ast
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
READERS = REPOSITORY / "gcx" / "readers"
REFUSING = {"refuse", "refuse_call", "_refuse", "_damaged", "end_early"}
"""Functions that never return: calling one is a check too."""


def checks(path: Path) -> list[ast.stmt]:
    """Statements that refuse: every `raise`, and every call of a function that only raises, but re-raises."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        raises = isinstance(node, ast.Raise) and node.exc is not None
        refuses = (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Call)
            and ast.unparse(node.value.func).rpartition(".")[2] in REFUSING
        )
        if raises or refuses:
            found.append(node)
    return found


def without(path: Path, check: ast.stmt) -> str:
    """The module's source with one statement replaced by `pass`."""
    lines = path.read_text().splitlines(keepends=True)
    indent = lines[check.lineno - 1][: check.col_offset]
    lines[check.lineno - 1 : check.end_lineno] = [f"{indent}pass\n"]
    return "".join(lines)


def survives(path: Path, check: ast.stmt, tests: str = "tests/readers") -> bool:
    """Whether the tests still pass without the check."""
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "gcx"
        shutil.copytree(REPOSITORY / "gcx", package, ignore=shutil.ignore_patterns("__pycache__"))
        (package / path.relative_to(REPOSITORY / "gcx")).write_text(without(path, check))
        environment = {**os.environ, "PYTHONPATH": folder, "GCX_MUTATED": "1", "OPENBLAS_NUM_THREADS": "1"}
        command = [sys.executable, "-P", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", tests]
        done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, check=False, timeout=600)
    return done.returncode == 0


def sample(count: int, word: str = "") -> list[tuple[Path, ast.stmt]]:
    """`count` checks, evenly spread over all of them in file order; all for 0."""
    paths = [path for path in sorted(READERS.rglob("*.py")) if word in str(path.relative_to(READERS))]
    every = [(path, check) for path in paths for check in checks(path)]
    if not 0 < count < len(every):
        return every
    step = len(every) / count
    return [every[int(step * (number + 0.5))] for number in range(count)]


def main() -> int:
    chosen = sample(int(sys.argv[1]) if len(sys.argv) > 1 else 0, *sys.argv[2:3])
    survivors = 0
    for path, check in chosen:
        if survives(path, check):
            survivors += 1
            print(f"survived: {path.relative_to(REPOSITORY)}:{check.lineno}: {ast.unparse(check)[:120]}", flush=True)
    print(f"{len(chosen) - survivors} of {len(chosen)} removed checks were missed by a test")
    return 1 if survivors else 0


if __name__ == "__main__":
    raise SystemExit(main())
