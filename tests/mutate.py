"""Mutation testing of the files that decide: does a test fail when a decision is turned round?

    python -m tests.mutate [--only PART] [--jobs N] [--update]

Each mutant changes one place of one file: a comparison, a sign, and/or, a constant, a dropped `not`, a default returned, a statement left
out. It exists in the memory of a forked process alone, which runs the tests that TARGETS names for the file and ends. Survivors that are
known are listed in mutants.json, by file, function, kind and line of source; a survivor that is not listed fails the run. `--update` writes
the list anew.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib
import importlib.abc
import importlib.machinery
import json
import os
import pickle
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType

ROOT = Path(__file__).parents[1]
LISTED = Path(__file__).with_name("mutants.json")
SELECTED = ("-q", "-x", "-p", "no:cacheprovider", "-m", "not slow and not gpu")

Key = tuple[str, str, str, str]
"""File, function, kind, line of source."""


@dataclass(frozen=True)
class Target:
    """`functions`: those whose mutants are made (a class stands for its methods); empty for all of the file."""

    file: str
    tests: tuple[str, ...]
    functions: tuple[str, ...] = ()

    @property
    def module(self) -> str:
        return "limner." + self.file.removesuffix(".py").replace("/", ".")


GATE, JOBS = "tests/serve/http/test_gate_decisions.py", "tests/serve/service/test_jobs_decisions.py"
EVALUATOR, STATS = "tests/tools/test_evaluator_decisions.py", "tests/tools/test_stats_decisions.py"
VERDICT = "tests/graph/test_verdict.py"
REFINE, OPTIMIZE = "tests/graph/refine/test_refine_decisions.py", "tests/graph/optimize/test_optimize_decisions.py"
RANKING, WORDS = "tests/promptdb/search/test_ranking_decisions.py", "tests/tools/solvers/dpo_diff/test_search_decisions.py"
GRADIENTS = "tests/tools/solvers/dpo_diff/test_gradient_decisions.py"
BANDIT = tuple(f"tests/agents/instructions/test_{name}.py" for name in ("bandit", "reference_ucb"))

TARGETS: tuple[Target, ...] = (
    Target("serve/http/gate.py", (GATE,)),
    Target("serve/service/jobs.py", (JOBS,), ("Jobs.__init__", "Jobs.create", "Jobs.halt", "Jobs.resume", "Jobs.close", "Jobs._")),
    Target("serve/service/queue.py", ("tests/serve/service/test_queue.py",)),
    Target("promptdb/runs.py", (EVALUATOR,), ("InFlight",)),
    Target("promptdb/search/fusion.py", (RANKING,)),
    Target("promptdb/search/keyword.py", (RANKING,), ("_scored",)),
    Target(
        "tools/stats.py",
        (STATS,),
        ("paired_bootstrap", "prompts_needed", "smallest_visible", "_clusters", "_resampled_means", "_sign_flip", "Interval"),
    ),
    Target("tools/budget.py", ("tests/tools/test_budget.py",)),
    Target("tools/evaluation.py", ("tests/tools/test_evaluator.py",)),
    Target("tools/evaluator.py", (EVALUATOR, "tests/tools/test_evaluator.py", "tests/graph/evaluate/test_reuse_cache.py")),
    Target("tools/solvers/dpo_diff/evolution.py", (WORDS, "tests/tools/solvers/dpo_diff/test_searches.py")),
    Target("tools/solvers/dpo_diff/trials.py", (WORDS, "tests/tools/solvers/dpo_diff/test_searches.py")),
    Target("tools/solvers/dpo_diff/meaning.py", (WORDS, "tests/tools/solvers/dpo_diff/test_meaning.py"), ("MeaningFilter", "same_senses")),
    Target("tools/solvers/dpo_diff/text_gradient.py", (GRADIENTS,), ("SearchGradient._key", "SearchGradient.taken", "SearchGradient.pay")),
    Target("agents/clause.py", ("tests/agents/test_clause.py", "tests/agents/test_intent_words.py", "tests/agents/test_contract.py")),
    Target("agents/contract.py", ("tests/agents/test_contract.py",)),
    Target("agents/intent_words.py", ("tests/agents/test_intent_words.py", "tests/agents/test_clause.py")),
    Target(
        "agents/instructions/bandit.py", ("tests/agents/instructions/test_bandit.py", "tests/agents/instructions/test_reference_ucb.py")
    ),
    Target(
        "graph/intent.py",
        (REFINE, "tests/graph/test_contract.py"),
        ("aligners", "witness", "shows_less", "contract_of", "admitted", "lost_traits"),
    ),
    Target("graph/plan.py", ("tests/graph/test_plan.py",), ("plan_images", "split_prompts", "plan_learning")),
    Target("graph/refine/graph.py", (REFINE,), ("select",)),
    Target("graph/verdict.py", (VERDICT, REFINE), ("score_row", "is_gain", "kind_of", "verdict", "_headline", "_remarks", "verdict_in")),
    Target("tools/lexicon/depiction.py", ("tests/tools/lexicon/test_depiction.py",), ("Depiction", "depiction")),
    Target("graph/refine/auto.py", (REFINE, "tests/graph/refine/test_auto.py"), ("ucb", "ranked", "starts", "_allot", "_exhausted")),
    Target("graph/optimize/arms.py", (OPTIMIZE,), ("accepted", "records", "_records", "is_ahead", "_ahead", "gain", "spread")),
    Target("graph/optimize/graph.py", (OPTIMIZE,), ("select",)),
    Target("graph/optimize/heldout.py", (OPTIMIZE,), ("check_heldout", "_compared")),
)


@dataclass(frozen=True)
class Mutant:
    key: Key
    tree: ast.Module


COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
}


def changes(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """(kind, what stands there instead) for each way to change this node."""
    if isinstance(node, ast.Compare):
        for place, old in enumerate(node.ops):
            for new in COMPARISONS[type(old)]:
                changed = copy.copy(node)
                changed.ops = [*node.ops[:place], new(), *node.ops[place + 1 :]]
                yield f"{type(old).__name__} -> {new.__name__}", changed
    elif isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        other = OPERATORS[type(node.op)]
        yield f"{type(node.op).__name__} -> {other.__name__}", ast.BinOp(node.left, other(), node.right)
    elif isinstance(node, ast.BoolOp):
        other_word = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield f"{type(node.op).__name__} -> {type(other_word).__name__}", ast.BoolOp(other_word, node.values)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
        yield f"{type(node.op).__name__} dropped", node.operand
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float):
        other_value = not node.value if isinstance(node.value, bool) else node.value + 1
        yield f"{node.value} -> {other_value}", ast.Constant(other_value)
    elif isinstance(node, ast.Return) and node.value is not None and not _is_none(node.value):
        yield "None returned", ast.Return(ast.Constant(None))
    elif isinstance(node, ast.Raise | ast.Continue | ast.Break | ast.AugAssign) or (
        isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant | ast.Yield | ast.YieldFrom)
    ):
        yield f"{type(node).__name__} left out", ast.Pass()


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def mutants(file: str, functions: Sequence[str] = ()) -> Iterator[Mutant]:
    """All of a file, in the order of its source."""
    source = (ROOT / file).read_text(encoding="utf-8")
    lines, tree = source.splitlines(), ast.parse(source)

    def walk(node: ast.AST, scope: tuple[str, ...]) -> Iterator[Mutant]:
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "type_params", "op", "ops", "ctx", "decorator_list"):
                continue
            for place, child in enumerate(value if isinstance(value, list) else [value]):
                if not isinstance(child, ast.AST) or (isinstance(child, ast.keyword) and child.arg == "strict"):
                    continue
                inner = (*scope, child.name) if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) else scope
                if not functions or any(".".join(inner).startswith(wanted) for wanted in functions):
                    for kind, changed in changes(child):
                        put(node, name, place, ast.copy_location(changed, child))
                        yield Mutant((file, ".".join(inner), kind, lines[child.lineno - 1].strip()), tree)
                        put(node, name, place, child)
                yield from walk(child, inner)

    def put(node: ast.AST, name: str, place: int, child: ast.AST) -> None:
        if isinstance(getattr(node, name), list):
            getattr(node, name)[place] = child
        else:
            setattr(node, name, child)

    yield from walk(tree, ())


class Instead(importlib.abc.MetaPathFinder):
    """Gives one module other code; all else about it stays, its __file__ too."""

    def __init__(self, module: str, code: CodeType) -> None:
        self._module, self._code = module, code

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> importlib.machinery.ModuleSpec | None:
        if name != self._module:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        assert spec is not None and spec.loader is not None
        code = self._code
        spec.loader.get_code = lambda name: code  # type: ignore[attr-defined]
        return spec


def in_a_fork(work: Callable[[], int]) -> int:
    """The process id of a fork that does the work, in silence, and ends with what it returns."""
    if process := os.fork():
        return process
    os.setsid()
    try:
        for stream in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        code = work()
    except BaseException:
        code = 70
    os._exit(code)


def tested(target: Target) -> int:
    import pytest
    from hypothesis import settings

    settings.register_profile("mutants", derandomize=True, database=None)
    return int(pytest.main([*SELECTED, "--hypothesis-profile=mutants", *target.tests]))


def baseline(target: Target) -> float:
    """Seconds that the tests take on the code as it is; what they import of others is imported here, so that forks have it already.
    Raises SystemExit where they fail."""
    reading, writing = os.pipe()

    def work() -> int:
        sys.meta_path.insert(0, Instead(target.module, compile((ROOT / target.file).read_text("utf-8"), str(ROOT / target.file), "exec")))
        code = tested(target)
        names = [name for name in list(sys.modules) if name.split(".")[0] not in ("limner", "tests", "conftest", "__main__")]
        with os.fdopen(writing, "wb") as pipe:
            pickle.dump((code, names), pipe)
        return 0

    begun = time.monotonic()
    process = in_a_fork(work)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        code, names = pickle.load(pipe)
    os.waitpid(process, 0)
    seconds = time.monotonic() - begun
    if code:
        raise SystemExit(f"{', '.join(target.tests)} fail on the code as it is")
    for name in names:
        with suppress(Exception):
            importlib.import_module(name)
    return seconds


def survivors(target: Target, found: Sequence[tuple[Key, CodeType]], seconds: float, jobs: int) -> list[Key]:
    """Those of the mutants that every test passes. One that takes far longer than the code as it is counts as noticed."""
    waiting, alive = list(enumerate(found)), list[int]()
    at_work: dict[int, tuple[int, float]] = {}
    while waiting or at_work:
        while waiting and len(at_work) < jobs:
            place, (_, code) = waiting.pop(0)

            def work(code: CodeType = code) -> int:
                sys.meta_path.insert(0, Instead(target.module, code))
                return tested(target)

            at_work[in_a_fork(work)] = place, time.monotonic() + 3 * seconds + 10
        time.sleep(0.01)
        for process, (place, deadline) in list(at_work.items()):
            ended, status = os.waitpid(process, os.WNOHANG)
            if not ended and time.monotonic() > deadline:
                with suppress(ProcessLookupError):
                    os.killpg(process, signal.SIGKILL)
                ended, status = os.waitpid(process, 0)
            if ended:
                del at_work[process]
                if status == 0:
                    alive.append(place)
    return [found[place][0] for place in sorted(alive)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="files whose path holds this")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="mutants tested at once")
    parser.add_argument("--update", action="store_true", help="write the list of survivors anew")
    asked = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.chdir(ROOT)
    listed: list[Key] = [(row["file"], row["function"], row["kind"], row["line"]) for row in json.loads(LISTED.read_text(encoding="utf-8"))]
    targets = [target for target in TARGETS if asked.only in target.file]
    looked_at = {target.file for target in targets}
    known = Counter(key for key in listed if key[0] in looked_at)
    alive: list[Key] = []
    for target in targets:
        begun, seconds = time.monotonic(), baseline(target)
        found = [
            (mutant.key, compile(ast.fix_missing_locations(mutant.tree), str(ROOT / target.file), "exec"))
            for mutant in mutants(target.file, target.functions)
        ]
        own = survivors(target, found, seconds, asked.jobs)
        alive += own
        print(f"{target.file}: {len(own)} of {len(found)} mutants survive, {time.monotonic() - begun:.0f} s", flush=True)
        for key, count in (Counter(own) - known).items():
            print(f"    not listed{f', {count} times' if count > 1 else ''}: " + " | ".join(key[1:]), flush=True)
    if asked.update:
        rows = sorted([*(key for key in listed if key[0] not in looked_at), *alive])
        lines = (json.dumps(dict(zip(("file", "function", "kind", "line"), key, strict=True)), ensure_ascii=False) for key in rows)
        LISTED.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")
        return 0
    if gone := sum((known - Counter(alive)).values()):
        print(f"{gone} that are listed are noticed now: run with --update")
    return 1 if Counter(alive) - known else 0


if __name__ == "__main__":
    sys.exit(main())
