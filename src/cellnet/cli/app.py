"""The command ``cellnet``."""

from __future__ import annotations

import errno
import os
import sys
import time
from typing import Annotated

import typer

from cellnet import __version__
from cellnet.cli import (
    audit,
    compare,
    cross_validate,
    demo,
    differential,
    doctor,
    download,
    evaluate,
    find_lr,
    listing,
    pack,
    predict,
    publish,
    train,
)
from cellnet.cli.console import SPEAKS, log
from cellnet.errors import CellnetError

INTERRUPTED = (130, 143)
"""Exit codes of what was asked to end."""

FIRST_TELLS_SECONDS = 30
"""How long another process of several leaves it to the first one to tell of an error."""

app = typer.Typer(
    name="cellnet",
    help="Classify single blood-cell images, and know how far to trust the answer. For research use only.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start here: `cellnet demo`",
)
for command in (
    demo.demo,
    train.train,
    cross_validate.cross_validate,
    compare.compare,
    find_lr.find_lr,
    evaluate.evaluate,
    predict.predict,
    differential.differential,
    download.download,
    publish.publish,
    audit.audit,
    pack.pack,
    listing.list_names,
    listing.info,
    doctor.doctor,
):
    app.command(name={"list_names": "list"}.get(command.__name__))(command)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options before the command."""


def main() -> None:
    """Run the command line.

    Exit codes: 0 done, 1 a problem that the message explains, 2 wrong words, 70 a flaw of cellnet's own,
    130 interrupted, 143 ended by SIGTERM. ``CELLNET_DEBUG=1`` shows tracebacks.
    """
    if os.environ.get("CELLNET_DEBUG"):
        app()
    try:
        app()
    except CellnetError as error:
        _fail(str(error), getattr(error, "exit_code", 1))  # of a run that was interrupted: 130 or 143
    except KeyboardInterrupt:
        _fail("Interrupted.", 130)
    except BrokenPipeError:
        # The reader of our output has gone (`cellnet … | head`): nothing more to say, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        reason = "the disk is full" if error.errno == errno.ENOSPC else str(error)
        _fail(f"The system refused: {reason}.", 1)
    except Exception as error:
        _fail(
            f"This is a flaw in cellnet: {type(error).__name__}: {error}. "
            "Run again with CELLNET_DEBUG=1 and report what it prints.",
            70,
        )


def _fail(message: str, code: int) -> None:
    if SPEAKS:
        log.print(f"Error: {message}", style="red")
    elif code not in INTERRUPTED:
        # What all processes ran into is told by the first one, whose launcher then ends the others while they wait.
        time.sleep(FIRST_TELLS_SECONDS)
        print(f"Error in process {os.environ['RANK']}: {message}", file=sys.stderr)
    sys.exit(code)
