"""A fault run is a pure function of its seed, and of a shape in which every kind of fault meets
work to disturb.
"""

from collections import Counter

import pytest

from tests.nemesis.schedule import LASTS, REQUESTS, TARGETS, make_schedule
from tests.nemesis.wishes import WISHES

SEEDS = range(1, 21)


def test_equal_seeds_make_equal_runs() -> None:
    """A run can be had again; another seed is another run."""
    assert make_schedule(7, 180) == make_schedule(7, 180)
    assert make_schedule(7, 180).to_json() != make_schedule(8, 180).to_json()


@pytest.mark.parametrize("seed", SEEDS)
def test_each_wish_is_asked_for(seed: int) -> None:
    """Sixty requests for twenty builds, each at least once, in the order of their times."""
    asks = make_schedule(seed, 180).asks

    assert len(asks) == REQUESTS == 60
    assert {ask.wish for ask in asks} == {wish.name for wish in WISHES}
    assert len(WISHES) == 20
    assert [ask.at for ask in asks] == sorted(ask.at for ask in asks)


@pytest.mark.parametrize("seed", SEEDS)
def test_there_is_something_new_to_build_all_along(seed: int) -> None:
    """No half minute passes without a build that nobody has asked for before, until the asking
    ends.
    """
    first = {ask.wish: ask.at for ask in reversed(make_schedule(seed, 180).asks)}

    assert {int(at // 30) for at in first.values()} >= {0, 1, 2, 3, 4}


@pytest.mark.parametrize("seed", SEEDS)
def test_each_fault_strikes_even_in_a_short_run(seed: int) -> None:
    """A minute is enough for every kind, and three minutes for each of them several times."""
    short, whole = (
        Counter(strike.kind for strike in make_schedule(seed, seconds).strikes)
        for seconds in (60, 180)
    )

    assert short.keys() == whole.keys() == TARGETS.keys() == LASTS.keys()
    assert min(whole.values()) >= 2


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_struck_that_is_down(seed: int) -> None:
    """A part that a fault has taken away comes back before the next one strikes it."""
    back: dict[str, float] = {}
    for strike in make_schedule(seed, 180).strikes:
        assert strike.at >= back.get(strike.target, 0)
        back[strike.target] = strike.at + strike.seconds


def test_spellings_of_a_wish_differ() -> None:
    """Equal wishes come in unlike words, so that a run also shows that these do not matter."""
    asks = [
        ask
        for seed in SEEDS
        for ask in make_schedule(seed, 60).asks
        if ask.wish.endswith("luci+tmux+vim")
    ]

    assert len({tuple(ask.body["packages"]) for ask in asks}) > 1
    assert len({tuple(sorted(ask.body["packages"])) for ask in asks}) == 1
