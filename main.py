"""The command line: one module of serve/cli for each command. What is heavy is imported by the command that needs it."""

from __future__ import annotations

import typer

from limner.serve.cli import (
    chat,
    convert,
    db,
    doctor,
    evaluate,
    exit_codes,
    generate,
    miniature,
    optimize,
    refine,
    runs,
    serve,
    train,
    version,
)

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
app.callback()(version.limner)
for group in (db, miniature, runs, train):
    app.add_typer(group.app, name=group.__name__.rpartition(".")[2])
app.command("refine")(refine.refine_command)
app.command("attack")(refine.attack_command)
app.command("optimize")(optimize.optimize_command)
app.command("chat")(chat.chat_command)
app.command("generate")(generate.generate_command)
app.command("score")(generate.score_command)
app.command("evaluate")(evaluate.evaluate_command)
app.command("serve")(serve.serve_command)
app.command("mcp")(serve.mcp_command)
app.command("doctor")(doctor.doctor_command)
app.command("convert")(convert.convert_command)


def main(arguments: list[str] | None = None) -> int:
    """Runs a command. `arguments`: by default the process's own. Returns the exit code: 0 done, 1 failed, 2 bad input, 130 interrupted."""
    return exit_codes.run_command(app, arguments)


def run() -> None:
    """Runs a command and ends the process with its exit code: the entry point of `limner` and `python main.py`."""
    exit_codes.run_process(app)


if __name__ == "__main__":
    run()
