"""Selectors pick what their formulas say, and the good ones find the good arm under noise."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import numpy as np
import pytest

from limner.agents.instructions import bandit
from limner.agents.instructions.bandit import EXPLORATION, SELECTORS, ArmRecord, best, best_first, open_selector, pooled_spread
from limner.promptdb.errors import BadInput

Pick = Callable[[int, int], bool]


def arm(id: str, *rewards: float, latest: float | None = None) -> ArmRecord:
    return ArmRecord(id, rewards, float(np.mean(rewards)) if latest is None else latest)


def ids(name: str, arms: list[ArmRecord], keep: int = 2, seed: int = 0) -> list[str]:
    return [choice.id for choice in open_selector(name)(arms, keep, random.Random(seed))]


def test_ucb_adds_a_bonus_by_true_pull_counts() -> None:
    arms = [arm("a", 1.0, 0.0, 1.0, 0.0), arm("b", 0.5, 0.0)]
    spread = math.sqrt((4 * 0.25 + 2 * 0.0625) / (3 + 1))
    assert pooled_spread(arms) == pytest.approx(spread)
    chosen = {choice.id: choice.index for choice in SELECTORS["ucb"](arms, 2, random.Random(0))}
    for id, mean, pulls in (("a", 0.5, 4), ("b", 0.25, 2)):
        assert chosen[id] == pytest.approx(mean + EXPLORATION * spread * math.sqrt(2 * math.log(6) / pulls))


def test_asking_twice_changes_nothing() -> None:
    arms = [arm("a", 1.0, 0.2), arm("b", 0.9, 0.5), arm("c", 0.1, 0.4)]
    for name in SELECTORS:
        assert ids(name, arms) == ids(name, arms)


def test_few_pulls_are_explored_and_do_not_win_in_the_end() -> None:
    lucky, steady, bad = arm("lucky", 1.1), arm("steady", *[0.6, 1.2] * 12), arm("bad", *[-0.3, 0.3] * 4)
    assert ids("ucb", [lucky, steady, bad], 1) == ["lucky"]
    assert best([lucky, steady, bad]).id == "steady"


def test_greedy_looks_at_the_last_batch_alone_and_halving_at_all_pulls() -> None:
    arms = [arm("a", 1.0, 1.0, latest=0.0), arm("b", 0.0, 0.2, latest=0.2), arm("c", 0.5, 0.5, latest=0.1), arm("d", -1.0, 0.0)]
    assert ids("greedy", arms) == ["b", "c"]
    assert ids("successive-halving", arms, 3) == ["a", "c"]


def test_epsilon_mostly_picks_the_best_and_sometimes_another() -> None:
    arms = [arm(str(number), float(number)) for number in range(4)]
    firsts = [ids("epsilon", arms, 1, seed)[0] for seed in range(400)]
    assert 0.86 < firsts.count("3") / 400 < 0.98
    assert len(set(firsts)) == 4


def test_thompson_draws_by_uncertainty() -> None:
    arms = [arm("known", *[0.4, 0.6] * 50), arm("new", 0.3, 0.5)]
    firsts = [ids("thompson", arms, 1, seed)[0] for seed in range(300)]
    assert 0.02 < firsts.count("new") / 300 < 0.35


@pytest.mark.parametrize("name", list(SELECTORS))
def test_every_selector_keeps_at_most_what_is_asked_for_each_arm_once(name: str) -> None:
    arms = [arm(letter, 0.5, 0.5) for letter in "dcab"]
    assert sorted(ids(name, arms, 10))[:2] == ["a", "b"] and len(set(ids(name, arms, 10))) == len(ids(name, arms, 10))
    assert len(ids(name, arms, 1)) == 1 and ids(name, arms, 0) == []


def test_ties_go_by_id() -> None:
    arms = [arm(letter, 0.5, 0.5) for letter in "dcab"]
    assert ids("ucb", arms) == ids("greedy", arms) == ["a", "b"]
    assert best(arms).id == "a"
    assert best([arm("ab", 0.5, 0.5), arm("a", 0.5, 0.5)]).id == "a"


def test_an_unknown_selector_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(BadInput, match="ucb, ucb-e, greedy, epsilon, successive-halving, thompson"):
        open_selector("best")


def test_maai_counts_looks_and_not_pulls() -> None:
    """Worked by hand: three arms, two picks, iterations 0 and 1, from U = mean + 0.8 sqrt(ln(t + i) / n)."""
    arms = [arm("a", 28.0), arm("b", 27.9), arm("c", 27.0)]
    first, counters = bandit.reference_ucb(arms, 2, 0, {})
    assert [choice.id for choice in first] == ["a", "b"]
    assert first[0].index == pytest.approx(28.0)  # ln 1 = 0: no bonus
    assert first[1].index == pytest.approx(27.9 + 0.8 * math.sqrt(math.log(2) / 2))
    assert counters == {"a": 2, "b": 3, "c": 3}
    second, counters = bandit.reference_ucb(arms[:2], 2, 1, counters)
    assert second[0].index == pytest.approx(28.0 + 0.8 * math.sqrt(math.log(3) / 2))
    assert second[1].index == pytest.approx(27.9 + 0.8 * math.sqrt(math.log(4) / 4))
    assert counters == {"a": 3, "b": 5, "c": 3}


def test_ucb_with_true_counts_is_not_worse_than_greedy_and_finds_the_planted_arm(capsys: pytest.CaptureFixture[str]) -> None:
    """Noise as in the reference's logs: sd 1.5 an image; gaps of 0.4. Two of six arms leave each round, 12 pulls an arm and round,
    on seeds common to all arms."""
    regret = {name: [] for name in ("ucb", "greedy")}  # type: dict[str, list[float]]
    found = dict.fromkeys(regret, 0)
    for run in range(500):
        truth = 0.4 * np.random.default_rng([run, 1]).permutation(6)
        for name in regret:
            noise = np.random.default_rng([run, 2])
            live, rewards = list(range(6)), {index: [] for index in range(6)}  # type: dict[int, list[float]]
            for _ in range(4):
                common = noise.normal(0, 1.0, 12)
                own = noise.normal(0, math.sqrt(1.5**2 - 1), (6, 12))
                for index in live:
                    rewards[index] += list(truth[index] + common + own[index])
                records = [ArmRecord(str(index), tuple(rewards[index]), float(np.mean(rewards[index][-12:]))) for index in live]
                live = [int(choice.id) for choice in SELECTORS[name](records, max(1, len(live) - 2), random.Random(run))]
            regret[name].append(float(truth.max() - truth[live[0]]))
            found[name] += truth[live[0]] == truth.max()
    means = {name: float(np.mean(values)) for name, values in regret.items()}
    with capsys.disabled():
        print(f"\nregret over 500 runs: {means}; best arm found: { {name: count / 500 for name, count in found.items()} }")
    difference = np.array(regret["ucb"]) - np.array(regret["greedy"])
    assert difference.mean() < 2 * difference.std() / math.sqrt(500)
    assert min(found.values()) > 500 / 6 * 3


def _learned(run: int, name: str, arms: int = 13, keep: int = 3, newcomers: int = 2, pulls: int = 6) -> tuple[bool, int]:
    """Whether the planted arm is the final choice, and the pulls that it took. As in a run: newcomers join the survivors with no pulls of
    their own, rewards are gains over a plain picture with noise of its own, the best of all wins in the end."""
    truth = 0.4 * np.random.default_rng([run, 1]).integers(0, 4, arms)
    planted = int(np.random.default_rng([run, 2]).integers(arms))
    truth[planted] = 1.6
    noise = np.random.default_rng([run, 3])
    rewards: dict[int, list[float]] = {}
    records: dict[int, ArmRecord] = {}
    live, waiting = list(range(keep)), list(range(keep, arms))
    while True:
        plain, own = noise.normal(0, 1.5, pulls), noise.normal(0, 1.5, (arms, pulls))
        for index in live:
            gains = (truth[index] + own[index] - plain).tolist()
            rewards.setdefault(index, []).extend(gains)
            records[index] = ArmRecord(f"{index:02d}", tuple(rewards[index]), sum(gains) / pulls)
        if not waiting:
            return int(best(list(records.values())).id) == planted, sum(map(len, rewards.values()))
        chosen = SELECTORS[name]([records[index] for index in live], keep, random.Random(run))
        live = [int(choice.id) for choice in chosen] + waiting[:newcomers]
        waiting = waiting[newcomers:]


@pytest.mark.slow
def test_with_newcomers_too_ucb_is_not_worse_than_greedy_and_both_beat_chance(capsys: pytest.CaptureFixture[str]) -> None:
    """Here pull counts differ between arms, so that the bonus matters: 500 runs, sd 1.5 an image, gaps of 0.4, equal pulls."""
    runs = {name: [_learned(run, name) for run in range(500)] for name in ("ucb", "greedy")}
    found = {name: np.array([hit for hit, _ in rows], dtype=float) for name, rows in runs.items()}
    with capsys.disabled():
        print(f"\nplanted arm of 13 found: { {name: float(hits.mean()) for name, hits in found.items()} }; by chance {1 / 13:.3f}")
    assert [pulls for _, pulls in runs["ucb"]] == [pulls for _, pulls in runs["greedy"]]
    difference = found["ucb"] - found["greedy"]
    assert difference.mean() > -2 * difference.std() / math.sqrt(500)
    assert min(hits.mean() for hits in found.values()) > 3 / 13


@pytest.mark.parametrize(
    ("arms", "indices"),
    [
        # Pooled spread 0.5 over two degrees of freedom; N = 4 pulls of K = 2 arms.
        ([arm("a", 1.0, 0.0, 0.5), arm("b", 0.5)], {"a": 0.5 + 0.25 * math.sqrt(4 / 2 / 3), "b": 0.5 + 0.25 * math.sqrt(4 / 2 / 1)}),
        ([arm("a", 1.0, 0.0)], {"a": 0.5 + 0.5 * math.sqrt(0.5) * math.sqrt(2 / 1 / 2)}),
        ([arm("a", 1.0), arm("b", 0.5)], {"a": 1.0, "b": 0.5}),  # nothing pulled twice, so no spread
    ],
)
def test_ucb_e_explores_by_the_pulls_of_all_arms_over_its_own(arms: list[ArmRecord], indices: dict[str, float]) -> None:
    found = {choice.id: choice.index for choice in SELECTORS["ucb-e"](arms, 9, random.Random(0))}
    assert found == pytest.approx(indices)


@pytest.mark.parametrize(
    ("arms", "spread"),
    [
        ([], 0.0),
        ([arm("a", 1.0)], 0.0),
        ([arm("a", 1.0), arm("b", 0.0)], 0.0),
        ([arm("a", 1.0, 0.0)], math.sqrt(0.5)),
        ([arm("a", 1.0, 0.0), arm("b", 9.0)], math.sqrt(0.5)),
        ([arm("a", 1.0, 0.0), arm("b", 3.0, 3.0)], 0.5),
        ([arm("a", 1.0, 0.0), ArmRecord("b", (), 0.0)], math.sqrt(0.5)),
    ],
)
def test_the_pooled_spread_is_about_each_arms_own_mean(arms: list[ArmRecord], spread: float) -> None:
    assert pooled_spread(arms) == pytest.approx(spread)


@pytest.mark.parametrize(
    ("arms", "order"),
    [
        ([arm("a", 0.6), arm("b", *[0.3, 0.7] * 8)], ["b", "a"]),  # 0.6 less one spread of 0.207, 0.5 less a quarter of it
        ([arm("a", 0.9), arm("b", *[0.3, 0.7] * 8)], ["a", "b"]),
        ([arm("b", 0.5, 0.5), arm("a", 0.5, 0.5)], ["a", "b"]),
        ([ArmRecord("a", (), 0.0), arm("b", -5.0, -4.0)], ["b", "a"]),
    ],
)
def test_the_best_arm_is_the_one_with_the_highest_lower_bound(arms: list[ArmRecord], order: list[str]) -> None:
    assert [item.id for item in best_first(arms)] == order


@pytest.mark.parametrize(("count", "keep", "kept"), [(1, 9, 1), (2, 9, 1), (3, 9, 2), (4, 9, 2), (5, 9, 3), (8, 3, 3), (8, 0, 0)])
def test_halving_keeps_the_better_half_rounded_up(count: int, keep: int, kept: int) -> None:
    arms = [arm(str(number), float(number)) for number in range(count)]
    assert ids("successive-halving", arms, keep) == [str(number) for number in range(count)][::-1][:kept]
