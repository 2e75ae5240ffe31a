"""The command line: parses, hands over to serve and graph, prints. Decides nothing.

Everything heavy is imported inside the command that needs it, so that --help answers at once.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

from graph.learning import DEFAULT_BUDGET, DEFAULT_HELDOUT_SEEDS, LearningSettings
from graph.settings import Settings
from graph.stopped import ServerAway, Stopped
from promptdb.errors import BadInput
from serve.commands.converting import convert
from serve.commands.db import app as db_app
from serve.commands.miniature import app as miniature_app
from serve.commands.options import DRAWING, SEARCHING, STORED, Json, read_config, takes_settings
from serve.commands.runs import app as runs_app
from serve.terminal.output import console, print_json
from tools.diffusion.away import ImagesAway
from tools.dpo_diff.settings import DpoSettings

DONE, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
CHAT_BUDGET = 400
_LEARNING = LearningSettings()
_DPO = DpoSettings()

app = typer.Typer(
    help="Limner: give it a prompt and a diffusion checkpoint, and it returns a prompt that makes better images, with the evidence.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
train_app = typer.Typer(help="Training recipes: resumable, with progress and a seed.", rich_markup_mode=None)
app.add_typer(db_app, name="db")
app.add_typer(miniature_app, name="miniature")
app.add_typer(runs_app, name="runs")
app.add_typer(train_app, name="train")


@app.command()
@takes_settings(*SEARCHING)
def refine(
    settings: Settings,
    prompt: Annotated[str, typer.Argument(help="what the picture should show")] = "",
    method: Annotated[str, typer.Option("--method", help="auto, rewrite, adapter, df-prompt or dpo-diff")] = "auto",
    space: Annotated[str, typer.Option("--space", help="of dpo-diff: synonym, antonym, library, joined by +")] = _DPO.space,
    search: Annotated[str, typer.Option("--search", help="of dpo-diff: limner, hybrid, gradient, evolution or random")] = _DPO.search,
    resume: Annotated[str | None, typer.Option("--resume", help="go on with this run, as it was started")] = None,
    as_json: Json = False,
) -> None:
    """Refine one prompt: rewrite it, search, and check the best candidate on seeds that no search has seen."""
    from graph.dpo_diff import DpoOptions
    from graph.sessions import Control
    from serve.commands import refining
    from serve.terminal import printing, watching

    if resume and prompt:
        raise BadInput("give either a prompt or --resume RUN; a resumed run keeps its prompt")
    control = Control()
    with watching.stop_on_signals(control):
        if resume:
            document = refining.resume(settings, resume, watching.show_events, control)
        else:
            document = refining.refine(settings, prompt, method, watching.show_events, control, DpoOptions(space, search))
    if as_json:
        print_json(document)
    else:
        printing.print_refined(document, console())


@app.command()
@takes_settings(*SEARCHING)
def attack(
    settings: Settings,
    prompt: Annotated[str, typer.Argument(help="what the picture should show")] = "",
    search: Annotated[str, typer.Option("--search", help="limner, hybrid, gradient, evolution or random")] = _DPO.search,
    resume: Annotated[str | None, typer.Option("--resume", help="go on with this run, as it was started")] = None,
    as_json: Json = False,
) -> None:
    """Find a prompt that means the same and that the model draws worse, and check it on seeds that no search has seen."""
    from graph.sessions import Control
    from serve.commands import refining
    from serve.terminal import printing, watching

    if resume and prompt:
        raise BadInput("give either a prompt or --resume RUN; a resumed run keeps its prompt")
    control = Control()
    with watching.stop_on_signals(control):
        if resume:
            document = refining.resume(settings, resume, watching.show_events, control, refining.ATTACK)
        else:
            document = refining.attack(settings, prompt, search, watching.show_events, control)
    if as_json:
        print_json(document)
    else:
        printing.print_refined(document, console(), attack=True)


@app.command()
@takes_settings(*SEARCHING, budget=DEFAULT_BUDGET, heldout_seeds=DEFAULT_HELDOUT_SEEDS)
def optimize(
    settings: Settings,
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="prompts: one a line, JSONL {prompt, pins}, or CSV")] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="read so many prompts of the file")] = None,
    iterations: Annotated[int, typer.Option("--iterations", help="rounds of learning")] = _LEARNING.iterations,
    batch_size: Annotated[int, typer.Option("--batch-size", help="prompts a round")] = _LEARNING.batch_size,
    arms: Annotated[int, typer.Option("--arms", help="instructions that survive a round")] = _LEARNING.arms,
    selector: Annotated[str, typer.Option("--selector", help="who survives: ucb, ucb-e, greedy, epsilon, ...")] = _LEARNING.selector,
    professional: Annotated[bool, typer.Option(help="whether the prompt database takes part")] = _LEARNING.professional,
    compat: Annotated[str, typer.Option("--compat", help="maai: the reference's own order and UCB numbers")] = "",
    instruction: Annotated[str, typer.Option("--instruction", help="where to start from; by default the rewriter's own")] = "",
    resume: Annotated[str | None, typer.Option("--resume", help="go on with this run, as it was started")] = None,
    as_json: Json = False,
) -> None:
    """Learn an instruction on a file of prompts, and report what it is worth on prompts that it never saw."""
    from graph.sessions import Control
    from serve.commands import optimizing
    from serve.terminal import printing, watching

    if (file is None) == (resume is None):
        raise BadInput("give either a FILE of prompts or --resume RUN; a resumed run keeps its prompts")
    learning = LearningSettings(iterations, batch_size, arms, selector, professional=professional, compat=compat)  # type: ignore[arg-type]
    control = Control()
    with watching.stop_on_signals(control):
        if resume:
            document = optimizing.resume(settings, resume, watching.show_events, control)
        else:
            document = optimizing.optimize(settings, learning, file, limit, watching.show_events, control, instruction)  # type: ignore[arg-type]
    if as_json:
        return print_json(document)
    printing.print_optimized(document, console())


@app.command()
@takes_settings(*SEARCHING, budget=CHAT_BUDGET)
def chat(
    settings: Settings,
    thread: Annotated[str, typer.Option("--thread", help="go on with this conversation, or begin one of that name")] = "",
) -> None:
    """Talk about a picture: say what it should show, choose, change, keep, vote. --budget caps what a new conversation may draw."""
    from serve.commands import chatting

    chatting.chat(settings, thread)


@app.command()
@takes_settings(*DRAWING)
def generate(
    settings: Settings,
    prompts: Annotated[list[str] | None, typer.Argument(metavar="PROMPT...", help="what to draw")] = None,
    negative: Annotated[str, typer.Option("--negative", help="what not to draw")] = "",
    count: Annotated[int, typer.Option("--count", min=1, help="pictures of each prompt, on seeds from --seed on")] = 1,
    source: Annotated[Path | None, typer.Option("--from", help="an image that Limner wrote, to be drawn again")] = None,
    schedule: Annotated[bool, typer.Option("--schedule", help="show which words act at which step")] = False,
    lenient: Annotated[bool, typer.Option("--lenient", help="brackets that begin no triple are plain text")] = False,
    weights: Annotated[str, typer.Option("--weights", help="mean_restore, none, norm_restore or lerp_from_empty")] = "mean_restore",
    ranges: Annotated[str, typer.Option("--ranges", help="what ranges are parts of: step or sigma (the noise level)")] = "step",
    as_json: Json = False,
) -> None:
    """Draw prompts, DF-Prompts such as "a cat, [sharp focus:0-0.5:1.25]" among them, nothing else. With --from: draw again what an image
    says of itself."""
    from serve.commands import drawing
    from serve.commands.asking import Reading
    from serve.terminal import printing

    if source is not None and prompts:
        raise BadInput("give either prompts or --from IMAGE.png; an image brings its own prompt")
    reading = Reading(lenient, weights, ranges)
    if source is not None:
        document = drawing.redraw(settings, source)
    else:
        document = drawing.generate(settings, prompts or [], negative, count, reading)
    if as_json:
        return print_json(document)
    if schedule:
        printing.print_schedule(document["schedule"], console())
    printing.print_rows(document["images"], ("path", "seed", "prompt"), console())


@app.command()
@takes_settings("checkpoint", "device", "dtype", "scorer")
def score(
    settings: Settings,
    image: Annotated[Path, typer.Argument(help="an image file")],
    prompt: Annotated[str, typer.Argument(help="what it should show")],
    as_json: Json = False,
) -> None:
    """Judge an image for a prompt, by every scorer, nothing else."""
    from serve.commands import drawing
    from serve.terminal import printing

    document = drawing.score(settings, image, prompt)
    if as_json:
        return print_json(document)
    rows = [{"scorer": name, "value": value} for name, value in document["scores"].items()]
    printing.print_rows(rows, ("scorer", "value"), console())


@app.command()
@takes_settings(*SEARCHING)
def evaluate(
    settings: Settings,
    suite: Annotated[str, typer.Argument(help="miniature, rewrite, batch-gradient, df-prompt or dpo-diff")],
    full: Annotated[bool, typer.Option("--full", help="the large version; started again, it goes on where it was")] = False,
    as_json: Json = False,
) -> None:
    """Measure what is claimed, as a table with confidence intervals."""
    from serve.commands import evaluating
    from serve.terminal import printing

    document = evaluating.evaluate(settings, suite, full)
    if as_json:
        return print_json(document)
    printing.print_rows(document["rows"], ("name", "value", "ci95", "n", "target", "pass"), console())


@app.command()
@takes_settings(*SEARCHING)
def serve(
    settings: Settings,
    host: Annotated[str, typer.Option("--host", help="the address to listen on; any but this machine's own needs a --token")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535)] = 7878,
    token: Annotated[
        str | None, typer.Option("--token", envvar="LIMNER_TOKEN", help="what clients must show, 16 characters or more")
    ] = None,
    also: Annotated[list[str] | None, typer.Option("--also", help="a checkpoint that requests may name; repeatable")] = None,
) -> None:
    """Serve the HTTP API, OpenAI's API and MCP, with jobs that survive a restart. The options are what holds where a request is silent."""
    from serve.commands.serving import serve_http

    serve_http(settings, host, port, token, tuple(also or ()))


@app.command()
@takes_settings(*SEARCHING)
def mcp(
    settings: Settings,
    also: Annotated[list[str] | None, typer.Option("--also", help="a checkpoint that requests may name; repeatable")] = None,
) -> None:
    """Serve assistants over MCP, on stdin and stdout. The options are what holds where a request is silent."""
    from serve.commands.serving import serve_mcp

    serve_mcp(settings, tuple(also or ()))


@app.command()
@takes_settings("checkpoint", "device", "dtype", "steps", "guidance_scale", *STORED)
def doctor(settings: Settings, as_json: Json = False) -> None:
    """Say what is here, what fits, what is missing, and what to do."""
    from serve.commands.doctor import doctor as examine
    from serve.terminal import printing

    document = examine(settings)
    if as_json:
        return print_json(document)
    printing.print_tree(document, console())


app.command()(convert)


@train_app.command("miniature")
def train_miniature(
    preset: Annotated[str, typer.Option("--preset", help="cpu or gpu")] = "cpu",
    out: Annotated[Path | None, typer.Option("--out", help="folder of the checkpoint; by default the embedded one")] = None,
    work: Annotated[Path, typer.Option("--work", help="folder for what training keeps between starts")] = Path("runs/miniature"),
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    device: Annotated[str, typer.Option("--device", help="cpu or cuda")] = "cpu",
    stages: Annotated[list[str] | None, typer.Option("--stage", help="only this stage and what it needs; repeatable")] = None,
    keep: Annotated[list[str] | None, typer.Option("--keep", help="take this stage from the checkpoint in --out; repeatable")] = None,
    resume: Annotated[bool, typer.Option("--resume/--restart", help="go on where an earlier start was ended")] = True,
) -> None:
    """Train the embedded checkpoint with its scorers and judge."""
    from tools.miniature.train import STAGES, train

    def say(text: str) -> None:
        print(text, file=sys.stderr)

    train(preset, out, work, seed, resume, stages=stages or STAGES, keep=keep or (), device=device, say=say)


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit code. What a person can mend is one line on stderr."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        defaults = read_config(app)
        # Libraries may print; with --json nothing but the document may reach stdout.
        with redirect_stdout(sys.stderr) if "--json" in arguments else nullcontext():
            code = app(arguments, standalone_mode=False, default_map=defaults)
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
    except BrokenPipeError:  # whoever read our output has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return FAILED
    except Exception as error:
        traceback.print_exc()
        return _complain(f"{type(error).__name__}: {error}", FAILED)
    if code == INTERRUPTED:  # what typer makes of Ctrl-C
        return _complain("interrupted; everything so far is kept", INTERRUPTED)
    return code if isinstance(code, int) else DONE


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _complain(message: str, code: int) -> int:
    print("limner: " + " ".join(message.split()), file=sys.stderr)
    return code


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _interrupt)
    exit_code = main()
    if exit_code == INTERRUPTED:  # everything is stored; taking torch down in an orderly way can last seconds
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(exit_code)
    sys.exit(exit_code)
