from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from t2notebook.worker.executor.lifecycle import TABLE, Action, Lifecycle, Phase, Trigger

TERMINAL = {Action.SEND_FAILED, Action.SEND_EXIT_STATUS, Action.SEND_KILLED, Action.SEND_LIMITED}
TRIGGERS = st.lists(st.sampled_from(Trigger), max_size=30)


def play(triggers: list[Trigger]) -> tuple[Lifecycle, list[Action]]:
    life = Lifecycle()
    return life, [action for trigger in triggers for action in life.apply(trigger)]


def test_a_good_life() -> None:
    life, actions = play([Trigger.LAUNCH, Trigger.PACKAGE, Trigger.FORKED, Trigger.EXIT])
    assert life.phase is Phase.ENDED
    assert actions == [
        Action.FETCH,
        Action.FORK,
        Action.SEND_RUNNING,
        Action.SEND_EXIT_STATUS,
        Action.RELEASE,
    ]


def test_a_kill_before_the_fork_ends_it_at_once() -> None:
    life, actions = play([Trigger.LAUNCH, Trigger.SLOW, Trigger.KILL, Trigger.PACKAGE])
    assert life.phase is Phase.ENDED
    assert actions == [Action.FETCH, Action.SEND_STARTING, Action.SEND_KILLED, Action.RELEASE]


def test_a_kill_that_comes_with_the_launch_ends_it_before_its_process_is_made() -> None:
    life, actions = play([Trigger.LAUNCH, Trigger.PACKAGE, Trigger.KILL, Trigger.FORKED])
    assert life.phase is Phase.ENDED
    assert actions == [Action.FETCH, Action.FORK, Action.SEND_KILLED, Action.RELEASE]


def test_a_stubborn_worker() -> None:
    _, actions = play(
        [Trigger.LAUNCH, Trigger.PACKAGE, Trigger.FORKED, Trigger.KILL, Trigger.GRACE_OVER, Trigger.EXIT]
    )
    assert actions[3:] == [
        Action.SEND_KILLING,
        Action.TERMINATE,
        Action.START_GRACE,
        Action.DESTROY,
        Action.STOP_GRACE,
        Action.SEND_KILLED,
        Action.RELEASE,
    ]


@given(TRIGGERS)
def test_every_life_has_one_end(triggers: list[Trigger]) -> None:
    life, actions = play(triggers)
    ends = [action for action in actions if action in TERMINAL]
    assert len(ends) == (life.phase is Phase.ENDED)
    assert actions.count(Action.RELEASE) == len(ends)
    if ends:
        assert actions[-2:] == [ends[0], Action.RELEASE]


@given(TRIGGERS)
def test_nothing_is_sent_before_a_launch_and_signals_go_to_processes_only(triggers: list[Trigger]) -> None:
    _, actions = play(triggers)
    for action in (Action.TERMINATE, Action.DESTROY, Action.SEND_EXIT_STATUS, Action.SEND_RUNNING):
        if action in actions:
            assert Action.FORK in actions[: actions.index(action)]
    assert actions.count(Action.FORK) <= 1
    assert actions.count(Action.TERMINATE) <= 1


def test_the_table_leads_everywhere_and_nowhere_from_the_end() -> None:
    reached = {Phase.NEW} | {phase for phase, _ in TABLE.values()}
    assert reached == set(Phase)
    assert not [pair for pair in TABLE if pair[0] is Phase.ENDED]
    assert {action for _, actions in TABLE.values() for action in actions} == set(Action)
