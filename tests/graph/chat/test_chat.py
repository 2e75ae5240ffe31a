"""Conversations: what is said is done, nothing is spent beyond the cap, threads go on in another process and branch."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from limner.graph.chat.context import open_topic
from limner.graph.chat.threads import Chats
from limner.graph.runner import Control
from limner.graph.settings import HELDOUT_FROM
from limner.promptdb.errors import BadInput, Busy
from limner.promptdb.records import Conditioning
from limner.promptdb.runs import Runs
from tests.doubles import FakeImageModel
from tests.graph.chat.chat_stage import services, talk
from tests.graph.stage import likes

REQUEST = "a red car on a beach"


def test_three_turns_lead_to_an_accepted_picture_with_evidence_from_fresh_seeds(tmp_path: Path) -> None:
    chats = Chats(services(tmp_path, likes(",")))
    thread = chats.start()
    first, second, last = talk(chats, thread, REQUEST, "1", "accept")
    assert [item["number"] for item in first["images"]] == [1, 2, 3, 4]
    best = first["images"][0]
    assert "," in best["text"] and best["scores"]["liking"] == max(item["scores"]["liking"] for item in first["images"])
    assert second["base"]["conditioning"]["text"] == best["text"]
    accepted = last["accepted"]
    assert accepted["result"]["conditioning"]["text"] == best["text"] and accepted["improved"]
    assert set(accepted["scores"]) == {"liking", "likeness", "truth"} and accepted["scores"]["liking"]["n"] == 4
    run = Runs(chats.services.db).get(thread)
    assert run is not None and run.command == "chat" and run.status == "done"


def test_the_judge_is_kept_out_of_what_a_person_chooses_by(tmp_path: Path) -> None:
    chats = Chats(services(tmp_path))
    (payload,) = talk(chats, chats.start(), REQUEST)
    assert all(set(item["scores"]) == {"liking", "likeness"} for item in payload["images"])


def test_a_vague_wish_is_asked_back_and_costs_nothing(tmp_path: Path) -> None:
    chats = Chats(services(tmp_path))
    (payload,) = talk(chats, chats.start(), "make me a picture")
    assert payload["reply"].endswith("?") and payload["used"]["images"] == 0 and payload["request"] == ""


def test_keep_and_change_pins_the_one_and_changes_the_other_in_request_and_pick(tmp_path: Path) -> None:
    chats = Chats(services(tmp_path))
    payload = talk(chats, chats.start(), REQUEST, "pick 2", "keep the car, change the background to a forest")[-1]
    assert payload["contract"]["pins"] == ["car"]
    assert payload["request"] == "a red car with a forest in the background"
    assert all("car" in item["text"] and "beach" not in item["text"] for item in payload["images"])
    assert {item["seed"] for item in payload["images"]} == {0}  # the same noise, so that only the words differ


def test_banned_words_never_come_back_and_refusals_are_counted(tmp_path: Path) -> None:
    chats = Chats(services(tmp_path))
    thread = chats.start()
    talk(chats, thread, REQUEST, "1", "ban masterpiece")
    payload = talk(chats, thread, "again")[-1]
    assert payload["images"] and not any("masterpiece" in item["text"] for item in payload["images"])
    assert payload["contract"]["bans"] == ["masterpiece"]


def test_more_like_one_is_the_same_prompt_on_seeds_not_seen_before(tmp_path: Path) -> None:
    chats = Chats(services(tmp_path))
    thread = chats.start()
    first, more, again = talk(chats, thread, REQUEST, "more like 2", "more")
    assert {item["text"] for item in more["images"]} == {first["images"][1]["text"]}
    seeds = [{item["seed"] for item in payload["images"]} for payload in (first, more, again)]
    assert not seeds[0] & seeds[1] and not seeds[1] & seeds[2]


def test_undo_goes_back_to_what_was_and_the_thread_stays_a_tree(tmp_path: Path) -> None:
    chats = Chats(services(tmp_path))
    thread = chats.start()
    first, _, third, undone = talk(chats, thread, REQUEST, "make it blue", "status", "undo")
    assert third["request"] == "a blue car on a beach"
    assert undone["request"] == REQUEST and undone["images"] == first["images"]
    assert [turn.place for turn in chats.history(thread)] == [1, 4]
    assert [turn.place for turn in chats.history(thread, everything=True)] == [1, 2, 3, 4]
    named = talk(chats, thread, "go back to turn 2")[-1]
    assert named["request"] == "a blue car on a beach"


def test_undo_in_an_empty_conversation_says_so(tmp_path: Path) -> None:
    chats = Chats(services(tmp_path))
    assert "nothing before" in talk(chats, chats.start(), "undo")[-1]["reply"]


def test_what_an_undo_gives_back_is_no_money_and_no_fresh_seed(tmp_path: Path) -> None:
    chats = Chats(services(tmp_path))
    thread = chats.start()
    _, more, undone, again = talk(chats, thread, REQUEST, "more like 1", "undo", "more like 1")
    assert undone["used"]["images"] == more["used"]["images"]
    assert not {item["seed"] for item in more["images"]} & {item["seed"] for item in again["images"]}


def test_nothing_is_drawn_beyond_the_cap_and_the_person_may_raise_it(tmp_path: Path) -> None:
    model = FakeImageModel(likes("sharp"))
    chats = Chats(services(tmp_path, model=model))
    thread = chats.start(cap=18)
    first, second = talk(chats, thread, REQUEST, "make it blue")
    assert first["used"]["images"] == 8 and len(model.drawn) == 10  # 2 x 4 are kept for the check
    assert "cap" in second["reply"] and len(second["images"]) == 1
    payload = talk(chats, thread, "raise the cap to 40", "again")[-1]
    assert payload["cap"] == 40 and 10 < len(model.drawn) <= 40


@pytest.mark.parametrize(
    "said", [("again", "more like 1", "again"), ("run rewrite with 90 images",), ("compare", "left", "more", "compare")]
)
def test_however_much_is_drawn_what_is_accepted_is_checked(tmp_path: Path, said: tuple[str, ...]) -> None:
    chats = Chats(services(tmp_path, likes(",")))
    thread = chats.start(cap=22)
    spent = [payload["used"]["images"] for payload in talk(chats, thread, REQUEST, *said)]
    assert max(spent) <= 14  # 2 x 4 are kept, whatever was asked for
    payload = talk(chats, thread, "accept 1")[-1]
    accepted = payload["accepted"]
    assert accepted["verdict"]["kind"] == "better" and {row["n"] for row in accepted["scores"].values()} == {4}
    assert payload["reply"].startswith("Better on 4 of 4 fresh seeds by liking.") and payload["used"]["images"] <= 22


def test_a_cap_that_covers_the_check_alone_draws_nothing_and_says_why(tmp_path: Path) -> None:
    model = FakeImageModel(likes(","))
    chats = Chats(services(tmp_path, model=model))
    payload = talk(chats, chats.start(cap=9), REQUEST)[-1]
    assert not model.drawn and payload["images"] == [] and "8 of the check on fresh seeds" in payload["reply"]


def test_acceptance_under_a_cap_that_was_lowered_is_taken_but_claims_nothing(tmp_path: Path) -> None:
    chats = Chats(services(tmp_path, likes(",")))
    payload = talk(chats, chats.start(), REQUEST, "cap 9", "accept 1")[-1]
    assert payload["accepted"]["scores"] == {} and not payload["accepted"]["improved"]
    assert payload["accepted"]["verdict"]["kind"] == "cannot judge" and "not measured" in payload["accepted"]["note"].lower()


def test_a_solver_gets_its_budget_and_no_more(tmp_path: Path) -> None:
    model = FakeImageModel(likes(","))
    chats = Chats(services(tmp_path, model=model))
    thread = chats.start()
    before = talk(chats, thread, REQUEST)[-1]["used"]["images"]
    after = talk(chats, thread, "run rewrite with 30 images")[-1]
    assert 0 < after["used"]["images"] - before <= 30
    assert "fresh seeds" in after["reply"] and "Path: retrieve" in after["reply"]
    assert after["base"] is not None
    too_much = talk(chats, thread, "run rewrite with 5000 images")[-1]
    assert too_much["used"]["images"] <= 200 and "more than the cap leaves" in too_much["reply"]


def test_a_solver_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    chats = Chats(services(tmp_path))
    payload = talk(chats, chats.start(), REQUEST, "run dpo-diff with 40 images")[-1]
    assert "dpo-diff cannot run" in payload["reply"] and payload["used"]["images"] == 8


def test_the_style_is_part_of_what_is_asked_for(tmp_path: Path) -> None:
    chats = Chats(services(tmp_path))
    payload = talk(chats, chats.start(), REQUEST, "in watercolor style")[-1]
    assert payload["style"] == "watercolor" and all("watercolor" in item["text"] for item in payload["images"])


def test_another_checkpoint_draws_and_one_that_is_not_there_changes_nothing(tmp_path: Path) -> None:
    chats = Chats(services(tmp_path))
    thread = chats.start()
    payload = talk(chats, thread, REQUEST, "use the checkpoint other")[-1]
    assert payload["checkpoint"] == "other" and payload["images"]
    payload = talk(chats, thread, "use the checkpoint ../../etc/passwd")[-1]
    assert payload["checkpoint"] == "other" and "no checkpoint" in payload["reply"]


def test_a_thread_goes_on_with_other_services_as_in_another_process(tmp_path: Path) -> None:
    first = Chats(services(tmp_path))
    thread = first.start()
    before = talk(first, thread, REQUEST, "pin red car")[-1]
    first.services.close()
    second = Chats(services(tmp_path))
    assert second.start(thread) == thread
    assert {key: value for key, value in second.view(thread).items() if key not in ("unfinished", "used")} == {
        key: value for key, value in before.items() if key != "used"
    }
    payload = talk(second, thread, "make it blue")[-1]
    assert payload["used"]["images"] == 16 and payload["contract"]["pins"] == []  # "red car" was changed, so it is let go


def test_what_the_chat_model_used_is_stored_whichever_checkpoint_draws(tmp_path: Path) -> None:
    used = services(tmp_path)
    for turn in (1, 2):
        chat = used.context("talk")
        for checkpoint in ("fake", "other", "fake"):
            with chat.opened({**open_topic(chat), "checkpoint": checkpoint}) as context:
                context.chat.usage.count(calls=1)
                context.evaluator.budget.note()
        assert Runs(used.db).spent("talk").usage["calls"] == 3 * turn  # type: ignore[union-attr]


def test_a_branch_leaves_the_thread_as_it_is(tmp_path: Path) -> None:
    chats = Chats(services(tmp_path))
    thread = chats.start()
    talk(chats, thread, REQUEST, "make it blue")
    branch = chats.branch(thread, 1)
    assert chats.view(branch)["request"] == REQUEST and chats.view(thread)["request"] == "a blue car on a beach"
    payload = talk(chats, branch, "make it green")[-1]
    assert payload["request"] == "a green car on a beach"
    assert talk(chats, branch, "undo")[-1]["request"] == REQUEST
    assert chats.view(thread)["request"] == "a blue car on a beach"


def test_every_turn_is_kept_with_text_pictures_scores_and_cost(tmp_path: Path) -> None:
    chats = Chats(services(tmp_path))
    thread = chats.start()
    talk(chats, thread, REQUEST, "more like 1")
    first, second = chats.history(thread)
    assert first.said == REQUEST and first.actions[0]["kind"] == "describe" and first.cost["images"] == 8
    assert len(first.pictures) == 4 and set(first.pictures[0].scores) == {"liking", "likeness"}
    stored = chats.services.db.stored_drawings([item.drawing for item in second.pictures])
    assert len(stored) == 4 and all(item.image for item in stored.values())
    assert second.cost["images"] == 4 and second.parent == 1
    assert chats.threads()[0]["thread"] == thread and chats.threads()[0]["said"] == REQUEST


def test_a_turn_that_is_stopped_is_given_up_and_the_next_one_works(tmp_path: Path) -> None:
    control = Control()
    model = FakeImageModel(likes("sharp"), bucket=1)
    chats = Chats(services(tmp_path, model=model))
    thread = chats.start()
    events = []
    for event in chats.send(thread, REQUEST, control=control):
        events.append(event)
        if event["kind"] == "drawn":
            control.request_drain("enough")
    assert events[-1]["kind"] == "asked" and events[-1]["payload"]["request"] == ""
    drawn = len(model.drawn)
    payload = talk(chats, thread, REQUEST)[-1]
    assert len(payload["images"]) == 4 and len(model.drawn) == 8 and drawn <= 8  # what was drawn is not drawn again


def test_a_turn_cut_off_by_a_kill_is_gone_on_with(tmp_path: Path) -> None:
    class Killed(BaseException):
        pass

    def kill(batch: object) -> None:
        raise Killed

    first = Chats(services(tmp_path, model=FakeImageModel(likes("sharp"), on_bucket=kill)))
    thread = first.start()
    with pytest.raises(Killed):
        list(first.send(thread, REQUEST))
    second = Chats(services(tmp_path))
    assert second.view(thread)["unfinished"]
    payload = list(second.resume(thread))[-1]["payload"]
    assert payload["request"] == REQUEST and len(payload["images"]) == 4
    assert [turn.place for turn in second.history(thread)] == [1]


def test_two_at_once_on_one_thread_do_not_mix(tmp_path: Path) -> None:
    one, two = Chats(services(tmp_path)), Chats(services(tmp_path))
    thread = one.start()
    events = one.send(thread, REQUEST)
    next(events)
    with pytest.raises(Busy):
        list(two.send(thread, "a dog"))
    *_, last = events
    assert last["payload"]["request"] == REQUEST
    assert talk(two, thread, "make it blue")[-1]["request"] == "a blue car on a beach"


def test_the_first_event_comes_before_anything_is_drawn(tmp_path: Path) -> None:
    model = FakeImageModel(likes("sharp"))
    chats = Chats(services(tmp_path, model=model))
    events = chats.send(chats.start(), REQUEST)
    assert next(events)["kind"] == "heard" and model.calls == 0
    kinds = [event["kind"] for event in events]
    assert kinds.index("understood") < kinds.index("drawn") < kinds.index("shown") < kinds.index("reply") and kinds[-1] == "asked"


def test_a_button_says_the_same_as_words_and_nonsense_is_refused(tmp_path: Path) -> None:
    chats = Chats(services(tmp_path))
    thread = chats.start()
    talk(chats, thread, REQUEST)
    payload = list(chats.send(thread, action={"kind": "pick", "image": 2}))[-1]["payload"]
    assert payload["base"]["id"] == payload["images"][1]["conditioning"]
    with pytest.raises(BadInput, match="no reply"):
        list(chats.send(thread, action={"kind": "reformat the disk"}))
    assert "no picture 9" in list(chats.send(thread, action={"kind": "pick", "image": 9}))[-1]["payload"]["reply"]
    with pytest.raises(BadInput, match="no reply"):
        list(chats.send(thread, "x" * 5000))


@pytest.mark.parametrize("thread", ["../out", "a/b", "", ".hidden", "x" * 200, "a\0b"])
def test_ids_of_threads_lead_nowhere_else(tmp_path: Path, thread: str) -> None:
    chats = Chats(services(tmp_path))
    with pytest.raises(BadInput):
        list(chats.send(thread, REQUEST))


def test_held_out_seeds_are_never_shown_for_choosing(tmp_path: Path) -> None:
    chats = Chats(services(tmp_path))
    thread = chats.start()
    payloads = talk(chats, thread, REQUEST, "more like 1", "again", "compare")
    assert all(item["seed"] < HELDOUT_FROM for payload in payloads for item in payload["images"])


def test_status_tells_what_each_picture_was_drawn_from_but_not_while_a_blind_vote_is_open(tmp_path: Path) -> None:
    chats = Chats(services(tmp_path))
    drawn, told, _, blind = talk(chats, chats.start(), REQUEST, "show me the prompt", "compare", "status")
    lines = [f"{item['number']}: {item['text']}" for item in drawn["images"]]
    assert lines and all(line in told["reply"] for line in lines)
    assert blind["pair"] and not any(line in blind["reply"] for line in lines)


def test_a_prompt_that_the_encoder_cannot_read_is_refused_and_nothing_changes(tmp_path: Path) -> None:
    chats = Chats(services(tmp_path, model=FakeImageModel(limit=12)))
    payload = talk(chats, chats.start(), REQUEST, "add " + "very " * 20 + "tall palms")[-1]
    assert "tokens" in payload["reply"] and payload["request"] == REQUEST


def test_the_drawn_candidates_are_known_to_the_database(tmp_path: Path) -> None:
    chats = Chats(services(tmp_path))
    thread = chats.start()
    talk(chats, thread, REQUEST)
    assert Conditioning(REQUEST) in [item.conditioning for item in chats.services.db.candidates(thread)]


def test_what_a_request_says_to_the_letter_is_kept_told_and_let_go_of(tmp_path: Path) -> None:
    chats = Chats(services(tmp_path))
    thread = chats.start()
    first, _ = talk(chats, thread, "two red kites on a beach, no people", "1")
    assert "Kept by itself: two kites (count), red kites (colour); kept out by itself, by the negative prompt too: people" in first["reply"]
    assert "let go with `unpin` or `allow`" in first["reply"] and first["contract"]["pins"] == []
    rewritten = [item for item in first["images"] if item["origin"] == "rewrite"]
    asked = [item for item in first["images"] if item["origin"] == "user"]
    stored = chats.services.db.stored_drawings([item["drawing"] for item in first["images"]])
    drawn = {key: row.drawing.conditioning.negative for key, row in stored.items()}
    assert rewritten and all("people" in drawn[item["drawing"]] for item in rewritten)
    assert [drawn[item["drawing"]] for item in asked] == [""]
    told = talk(chats, thread, "status")[-1]["reply"]
    assert "Kept by itself: two kites (count)" in told
    freed = talk(chats, thread, "allow people")[-1]
    assert freed["contract"]["let_go"] == ["people"]
    assert "people" not in talk(chats, thread, "status")[-1]["reply"].split("Kept by itself")[1].split("\n")[0]
    assert "there are: two kites, red kites" in talk(chats, thread, "unpin moon")[-1]["reply"]


def test_a_request_is_read_in_its_dialect_and_given_back_in_it(tmp_path: Path) -> None:
    chats = Chats(services(tmp_path))
    thread = chats.start()
    [drawn] = talk(chats, thread, "a (red:1.3) kite <lora:ink:1>")
    rewritten = next(item["number"] for item in drawn["images"] if item["origin"] == "rewrite")
    [taken] = talk(chats, thread, f"accept {rewritten}")
    assert "read as A1111" in drawn["reply"] and drawn["request"] == "a red kite"
    stored = chats.services.db.stored_drawings([item["drawing"] for item in drawn["images"]])
    assert all(row.drawing.conditioning.spans[0].weight == Fraction(13, 10) for row in stored.values())
    assert "(red:1.3)" in taken["reply"] and "<lora:ink:1>" in taken["reply"]


def test_the_dialect_of_a_conversation_may_be_named(tmp_path: Path) -> None:
    chats = Chats(services(tmp_path, dialect="plain"))
    [drawn] = talk(chats, chats.start(), "a (red:1.3) kite")
    assert drawn["request"] == "a (red:1.3) kite"
    chats = Chats(services(tmp_path, dialect="comfyui"))
    [drawn] = talk(chats, chats.start(), "a (red:1.3) kite")
    [first, *_] = chats.services.db.stored_drawings([item["drawing"] for item in drawn["images"]]).values()
    assert drawn["request"] == "a red kite" and first.drawing.conditioning.weight_mode == "lerp_from_empty"
