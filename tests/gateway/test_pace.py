"""How many go at once after a pause, at an application that this test plays: second by second."""

from __future__ import annotations

from collections.abc import Callable

from crossfade.gateway.pace import Pace

STEP = 32
SECONDS = 1.0


class Played:
    """Requests in flight by their age, and those that wait.  ``answers`` says how many of so many
    in flight are answered in a second, the oldest first; long ones never are."""

    def __init__(self, usual: int, waiting: int, answers: Callable[[int], int]) -> None:
        self.pace = Pace(STEP, usual, waiting)
        self.ages: list[float] = []
        self.long: list[float] = []
        self.waiting = waiting
        self.answers = answers
        self.most = 0

    def second(self, come: int, long: int = 0) -> None:
        """One second: these come, so many of them long, and the gate looks."""
        self.waiting += come
        go = max(0, min(self.waiting, self.pace.allowed - len(self.ages) - len(self.long)))
        self.waiting -= go
        self.long += [0.0] * min(long, go)
        self.ages += [0.0] * (go - min(long, go))
        self.most = max(self.most, len(self.ages) + len(self.long))
        there = len(self.ages)
        done = min(self.answers(there), there + self.waiting)
        self.waiting -= max(0, done - there)  # who took a place that became free
        self.ages = self.ages[done:]
        for _ in range(done):
            self.pace.ended()
        self.ages = [age + SECONDS for age in self.ages]
        self.long = [age + SECONDS for age in self.long]
        self.pace.look([*self.ages, *self.long], self.waiting, SECONDS)


def test_not_more_than_it_can_take() -> None:
    """It answers 250 a second, but a few only once hundreds are in flight, and 200 come: what
    waits gets less, at no time do many more go than before the pause."""
    played = Played(20, 2700, lambda there: 250 if there < 150 else 60)
    for _ in range(80):
        played.second(200)
    assert played.most < 150
    assert played.waiting == 0


def test_long_polls_do_not_count() -> None:
    """Every place is taken by a long poll again and again: the others go all the same."""
    played = Played(0, 1000, lambda there: min(4 * there, 200))
    for number in range(40):
        played.second(0, long=STEP if number < 5 else 0)
    assert played.waiting == 0
    assert len(played.long) > STEP


def test_nothing_is_answered_at_first() -> None:
    """A program that needs seconds for its first answer gets a step more each of them."""
    pace = Pace(STEP, 8, 500)
    pace.look([1.0] * 40, 460, SECONDS)
    pace.look([2.0] * 72, 428, SECONDS)
    assert pace.allowed == 3 * STEP


def test_slow_and_able_to_do_much_at_once() -> None:
    """Each answer takes two seconds however many are asked: more go, as the queue gets longer."""
    played = Played(0, 500, lambda there: there // 2)
    for _ in range(60):
        played.second(100)
    assert played.waiting == 0


def test_never_more_than_a_step_at_once() -> None:
    """An application's queue of connections may be short, however many it had at once before."""
    pace = Pace(STEP, 100, 500)
    seen = [pace.allowed]
    for waiting in (400, 300, 200, 100, 0):
        for _ in range(100):
            pace.ended()
        pace.look([0.1] * pace.allowed, waiting, SECONDS)
        seen.append(pace.allowed)
    assert seen == [32, 64, 96, 128, 132, 132]
