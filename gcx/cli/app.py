"""The program: runs a command line, and turns every ending into an exit code and at most one line on stderr."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn, TextIO

import typer

from gcx.cli import commands
from gcx.cli.options import origin
from gcx.cli.output import say, write_stdout
from gcx.errors import GcxError, printable
from gcx.version import __version__

INTERRUPTED = 130
TERMINATED = 143
FAILED = 2

app = typer.Typer(
    name="gcx",
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help="Weight correlation in convolutional networks: within and across filter groups, against chance.",
    epilog="\b\nExamples:\n  gcx correlate model.pt\n  gcx compare before.pt after.pt\n  gcx explain within.mean_r2",
)


def _version(wanted: bool) -> None:
    if wanted:
        write_stdout(f"gcx {__version__}\n")
        raise typer.Exit


@app.callback()
def _gcx(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Show the version and exit.")
    ] = False,
) -> None:
    from gcx.cli.config import configured, rules_of_environment

    rules = rules_of_environment(os.environ)
    context.default_map = {command: settings | rules for command, settings in configured(Path()).items()}


commands.register(app)


def main() -> NoReturn:
    """The console script: 0 fine, 1 a gate was crossed, 2 no answer, 3 inconclusive, 130 SIGINT, 143 SIGTERM."""
    signal.signal(signal.SIGTERM, _terminate)
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # as gcx.__main__ left it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    arguments = sys.argv[1:]
    try:
        code = run(arguments)
    except KeyboardInterrupt:
        code = INTERRUPTED
    for stream in (sys.stdout, sys.stderr):
        _finish(stream)
    sys.exit(code)


def _finish(stream: TextIO | None) -> None:
    """Flush now: what cannot be written any more (help into a closed pipe) must not be tried again at exit."""
    if stream is None:
        return
    try:
        stream.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def run(arguments: list[str]) -> int:
    """Run one command line and return the exit code; every error becomes one line on stderr."""
    debug = "--debug" in arguments
    try:
        return app(args=arguments, prog_name="gcx", standalone_mode=False) or 0
    except SystemExit as ended:  # SIGTERM, completion
        return ended.code if isinstance(ended.code, int) else 0
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except GcxError as error:
        return _failed(str(error), error, debug, error.exit_code)
    except typer.TyperException as error:
        return _failed(_one_line(error), error, debug)
    except MemoryError as error:
        return _failed("out of memory; measure fewer layers at once with --include", error, debug)
    except BrokenPipeError:
        return 0
    except OSError as error:  # typer's own writing: help, completion
        return _failed(f"stdout: cannot be written: {error.strerror or error}", error, debug)
    except Exception as error:  # a bug must not look like a crossed gate: Python would exit with 1
        kind = type(error).__name__
        return _failed(f"internal error: {kind}: {error}; please report it, with --debug", error, debug)


def _failed(message: str, error: BaseException, debug: bool, code: int = FAILED) -> int:
    if debug:
        import traceback

        say(traceback.format_exception(error))
    say([f"error: {printable(message, 2000)}"])
    return code


def _one_line(error: typer.TyperException) -> str:
    """typer's message in the house's form: where the value came from if not from a flag, and where to look."""
    message = error.format_message() if hasattr(error, "format_message") else str(error)
    text = " ".join(message.split()).rstrip(".").replace("Value error, ", "").replace("Input should", "it should")
    text = text.replace(". Did you mean", "; did you mean").rstrip("?")
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "gcx"
    if not text:
        return f"no command; see {command} --help"
    parameter = getattr(error, "param", None)
    where = origin(context, parameter.name) if context is not None and parameter is not None else None
    return f"{f'{where}: ' if where else ''}{text}; see {command} --help"


def _terminate(_signum: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(TERMINATED)
