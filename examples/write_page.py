"""Write the numbers into examples/README.md: each block between two marks is made from the recorded results.

The prose is written by hand; a block `<!-- shapes -->` … `<!-- end -->` is not. `--check` says whether the page agrees.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from accuracy_picture import draw
from page_blocks import BLOCKS, runs
from recording import HERE, ScriptError, run_script, write_whole

PAGE = HERE / "README.md"
PICTURE = HERE / "pictures" / "accuracy.png"
BLOCK = re.compile(r"(<!-- (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def written(page: str) -> str:
    """The page with every block made anew."""

    def block(found: re.Match[str]) -> str:
        made = BLOCKS.get(found[2])
        if made is None:
            raise ScriptError(f"no block is called {found[2]!r}: {', '.join(BLOCKS)}")
        return "\n".join([found[1].rstrip(), *made(), found[3]])

    return BLOCK.sub(block, page)


def main(arguments: list[str] | None = None) -> int:
    command = "python examples/write_page.py"
    parser = argparse.ArgumentParser(
        prog=command,
        description=__doc__,
        epilog=f"examples:\n  {command}\n  {command} --check",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where the page disagrees")
    parser.add_argument("--page", type=Path, default=PAGE, metavar="FILE", help="default: examples/README.md")
    options = parser.parse_args(arguments)
    page = options.page.read_text()
    new = written(page)
    if options.check:
        print("the page agrees with the results" if new == page else "the page disagrees: run write_page.py")
        return int(new != page)
    write_whole(options.page, new.encode())
    draw(runs(), PICTURE)
    return 0


if __name__ == "__main__":
    run_script(main)
