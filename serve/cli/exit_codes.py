"""Ends a command: its exit code, and one line on stderr for an error that a person can correct."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from contextlib import nullcontext, redirect_stdout

import typer

from limner.graph.sources import read_config, unknown_variables
from limner.promptdb.errors import BadInput, ImagesAway, ServerAway, Stopped

DONE, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130


def run_command(app: typer.Typer, arguments: list[str] | None = None) -> int:
    """Runs one command of `app`. `arguments`: by default the process's own. Prints one line on stderr for an error that a person can
    correct.

    Returns the exit code: 0 done, 1 failed, 2 bad input, 130 interrupted.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        for line in unknown_variables(os.environ):
            print(f"limner: {line}", file=sys.stderr)
        read_config()  # an invalid file is reported by every command
        # Libraries may print; with --json nothing but the document may reach stdout.
        with redirect_stdout(sys.stderr) if "--json" in arguments else nullcontext():
            code = app(arguments, standalone_mode=False)
    except BadInput as error:
        return _complain(str(error), BAD_INPUT)
    except typer.TyperException as error:
        return _complain(f"{error.format_message()} See --help.", BAD_INPUT)
    except Stopped as error:
        return _complain(str(error), INTERRUPTED)
    except (ServerAway, ImagesAway) as error:
        return _complain(str(error), FAILED)
    except KeyboardInterrupt:
        return _complain("interrupted; everything so far is kept", INTERRUPTED)
    except BrokenPipeError:  # the reader of the output has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return FAILED
    except Exception as error:
        traceback.print_exc()
        return _complain(f"{type(error).__name__}: {error}", FAILED)
    if code == INTERRUPTED:  # what typer makes of Ctrl-C
        return _complain("interrupted; everything so far is kept", INTERRUPTED)
    return code if isinstance(code, int) else DONE


def run_process(app: typer.Typer) -> None:
    """Runs a command and ends the process with its exit code: the entry point of `limner` and `python main.py`."""
    signal.signal(signal.SIGTERM, _interrupt)
    exit_code = run_command(app)
    if exit_code == INTERRUPTED:  # everything is stored; taking torch down in an orderly way can last seconds
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(exit_code)
    sys.exit(exit_code)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _complain(message: str, code: int) -> int:
    print("limner: " + " ".join(message.split()), file=sys.stderr)
    return code
