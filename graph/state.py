"""The state of a run (ids, text and numbers only) and the live objects beside it. Events are in events.py.

The state is written to disk after every node, so it holds nothing large and no classes of this project; pictures and scores are in
promptdb, under the ids stored here. Live objects are in the Context, which is never written.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NotRequired

from typing_extensions import TypedDict

from limner.agents.llm.base import ChatModel
from limner.graph.plan import LearningPlan, LearningSettings
from limner.graph.settings import Settings
from limner.promptdb.images import ImageStore
from limner.promptdb.store import PromptDB
from limner.tools.diffusion.card import Card
from limner.tools.evaluator import Evaluator
from limner.tools.solvers.base import Solver


@dataclass(frozen=True)
class Context:
    """The live objects of a run.

    `solvers`: factories by method name, called when their node is reached. `card`: the checkpoint's. `learning` and `plan` are used by
    `optimize` alone.
    """

    chat: ChatModel
    evaluator: Evaluator
    db: PromptDB
    images: ImageStore
    settings: Settings
    solvers: Mapping[str, Callable[[], Solver]] = field(default_factory=dict)
    card: Card = field(default_factory=Card)
    learning: LearningSettings = field(default_factory=LearningSettings)
    plan: LearningPlan = field(default_factory=lambda: LearningPlan(0, 0, 0, 0))


class ExemplarRow(TypedDict):
    """A professional prompt that the rewriter is shown. `id`, `source`: of the prompt in the database."""

    description: str
    positive: str
    negative: str
    id: NotRequired[str]
    source: NotRequired[str]


class CandidateRow(TypedDict):
    """`conditioning` is `Conditioning.to_json()`, `parent` a conditioning id, `note` what was repaired in it."""

    id: str
    conditioning: dict[str, Any]
    origin: str
    parent: str | None
    note: str


class DroppedRow(TypedDict):
    """Proposals that did not become candidates: whose, why, how many."""

    origin: str
    reason: str
    count: int


class SkippedRow(TypedDict):
    """A method that did not run, and why."""

    method: str
    reason: str


class SliceRow(TypedDict):
    """A slice of the budget under `auto`: who had it, what it cost in image equivalents, how many candidates came of it, by how much it
    raised the best on the search seeds, and that in units of the spread of all candidates."""

    strategy: str
    images: float
    candidates: int
    gain: float
    reward: float


class PathRow(TypedDict):
    """One node passed, for the report: how long it took and what came of it, in a few words."""

    node: str
    seconds: float
    note: str


class ScoreRow(TypedDict, total=False):
    """One scorer on the held-out seeds: means of the user's prompt and of the best candidate, their paired difference with its
    95 % interval, on `n` seeds (or prompts, where there are several; then with the two-sided `p` of a sign-flip test). `up`, `down`: on
    how many of them the value rose and fell. `smallest`: the smallest mean difference that could have been seen with 80 % power."""

    before: float | None
    after: float | None
    delta: float | None
    ci95: list[float] | None
    n: int
    p: float
    up: int
    down: int
    smallest: float | None


Kind = Literal["better", "worse", "traded", "no difference found", "cannot judge", "cannot draw"]


class Verdict(TypedDict):
    """What fresh seeds or prompts say of a change, by `graph/verdict.py`.

    `kind`: "better" and "worse" where the whole interval of the `objective` lies on that side; "traded" where the objective is better and a
    scorer of `lost` surely worse; "cannot draw" where the checkpoint does not know what the prompt is about. `words`: the same in
    sentences. `better_on`, `n`: on how many seeds or prompts of all the objective is better. `smallest`: the smallest difference of the
    objective that could have been seen with 80 % power. `scorers`: what each scorer says by itself. `missing`: evidence that no scorer of
    the run gives.
    """

    kind: Kind
    words: str
    objective: str
    better_on: int
    n: int
    smallest: float | None
    lost: list[str]
    scorers: dict[str, Kind]
    missing: list[str]


class StripRow(TypedDict):
    """One picture of the best candidate with the range of `words` moved to lo..hi of the elapsed denoising."""

    words: str
    lo: float
    hi: float
    seed: int
    drawing: str


class Outcome(TypedDict):
    """What a run found. `best`: the candidate that went into the held-out check (None: there was none). `result`: the conditioning
    to use, the user's own unless `improved`, which is so where the verdict is the one that was wanted. `before`, `after`: drawing ids on
    the held-out seeds."""

    verdict: Verdict
    improved: bool
    objective: str
    higher_is_better: dict[str, bool]
    best: CandidateRow | None
    result: CandidateRow
    scores: dict[str, ScoreRow]
    before: list[str]
    after: list[str]
    warnings: list[str]
    strip: NotRequired[list[StripRow]]


class ArmRow(TypedDict):
    """An instruction that is still in the race. `born`: after which iteration it was made, -1 for the initial one."""

    id: str
    text: str
    parent: str | None
    finding: str
    born: int


class SuffixRow(TypedDict):
    """One fixed list of keywords put behind every prompt, and one negative list; `pulls`: pictures that its search cost."""

    positive: str
    negative: str
    pulls: int


class LearnOutcome(TypedDict):
    """`best`: the arm that won the search. `verdict`: on it against the initial instruction, on the held-out prompts; `improved`: whether
    that is "better". `heldout`: learned against plain; `heldout_initial`: learned against the initial instruction; `initial`: that against
    plain; `suffix`: the fixed suffix against plain; `learned_suffix`: learned against the fixed suffix; each by scorer."""

    verdict: Verdict
    improved: bool
    objective: str
    higher_is_better: dict[str, bool]
    initial: ArmRow
    best: ArmRow
    suffix: SuffixRow | None
    scores: dict[str, dict[str, ScoreRow]]
    prompts: list[dict[str, Any]]
    stopped: str
    warnings: list[str]


class Shown(TypedDict):
    """A picture that the person sees as `number`. `scores`: means over the seeds it was judged on, by scorer, never held-out ones."""

    number: int
    drawing: str
    image: str
    seed: int
    candidate: CandidateRow
    scores: dict[str, float]


class Accepted(TypedDict):
    """What was accepted. `scores`: request against result on held-out seeds, empty where they were not drawn; `verdict` and `improved`
    rest on them."""

    result: CandidateRow
    verdict: Verdict
    improved: bool
    scores: dict[str, ScoreRow]
    note: str


class RefineState(TypedDict, total=False):
    """The state of a run that refines a prompt.

    `search`: mean objective of each candidate on the search seeds, by conditioning id, best first; never reported as a result.
    `unfaithful`: ids of the candidates that show less of what was asked there than the user's prompt does, and so cannot win. `findings`:
    content of the report by method, from its solver. `slices`, `slice`: under `auto`, the slices of the budget so far, and the present one.
    """

    run: str
    prompt: str
    method: str
    exemplars: list[ExemplarRow]
    candidates: Annotated[list[CandidateRow], operator.add]
    population: list[CandidateRow]
    search: dict[str, float | None]
    unfaithful: list[str]
    best: str | None
    outcome: Outcome
    dropped: Annotated[list[DroppedRow], operator.add]
    skipped: Annotated[list[SkippedRow], operator.add]
    warnings: Annotated[list[str], operator.add]
    findings: Annotated[dict[str, Any], operator.or_]
    slices: Annotated[list[SliceRow], operator.add]
    slice: dict[str, Any]
    path: Annotated[list[PathRow], operator.add]
