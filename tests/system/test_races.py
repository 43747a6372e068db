"""Preconditions, raced through two servers."""

import threading
from collections import Counter
from functools import partial

from tests.system.clients import Answer, run_together
from tests.system.conftest import Pair

RACERS = 8
ROUNDS = 50


def race(pair: Pair, path: str, header: str, values: "Values") -> list[list[Answer]]:
    """The answers of each round: all racers send the same precondition at once."""
    start = threading.Barrier(RACERS)
    end = threading.Barrier(RACERS, values.advance)

    def run(number: int) -> list[Answer]:
        client = pair.connect(number)
        answers = []
        for i in range(ROUNDS):
            start.wait(30)
            body = {"data": {"round": i, "racer": number}}
            answers.append(client.ask("PUT", path.format(i), body, {header: values.current}))
            if answers[-1].is_success:
                values.won = answers[-1].etag
            end.wait(30)
        return answers

    results = run_together(*(partial(run, number) for number in range(RACERS)))
    return [list(answers) for answers in zip(*results, strict=True)]


class Values:
    """The value of the precondition, the same for all racers of a round.

    Attributes:
        current: of this round.
        won: ETag of what this round's winner wrote.
    """

    def __init__(self, first: str, *, follows: bool) -> None:
        self.current = self.won = first
        self._follows = follows

    def advance(self) -> None:
        if self._follows:
            self.current = self.won


def check_rounds(rounds: list[list[Answer]], success: int) -> None:
    """One winner a round; the others are shown what it wrote."""
    for answers in rounds:
        assert Counter(one.status for one in answers) == {success: 1, 412: RACERS - 1}
        (winner,) = (one for one in answers if one.status == success)
        for loser in answers:
            if loser is not winner:
                assert loser.body["errno"] == 114
                assert loser.body["details"]["existing"] == winner.data
                assert loser.etag == winner.etag


def test_racing_if_match_has_exactly_one_winner_and_shows_the_others_what_it_wrote(
    pair: Pair, collection: str
) -> None:
    first = pair.connect().put(f"{collection}/records/r").etag
    rounds = race(pair, f"{collection}/records/r", "If-Match", Values(first, follows=True))
    check_rounds(rounds, 200)


def test_racing_if_none_match_creates_exactly_once(pair: Pair, collection: str) -> None:
    path = f"{collection}/records/new-{{}}"
    check_rounds(race(pair, path, "If-None-Match", Values("*", follows=False)), 201)
