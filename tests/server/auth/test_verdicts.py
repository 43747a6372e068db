import asyncio

import pytest

from server.auth.verdicts import Inquiries, Verdicts

pytestmark = pytest.mark.gen_test


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_verdict_is_remembered_until_its_time_and_no_longer() -> None:
    clock = Clock()
    verdicts: Verdicts[str, str] = Verdicts(clock=clock)
    verdicts.remember("a", "yes", 105)
    clock.now = 104.9
    assert verdicts.find("a") == "yes"
    clock.now = 105
    assert verdicts.find("a") is None


async def test_verdict_that_was_used_longest_ago_is_forgotten_first() -> None:
    verdicts: Verdicts[str, int] = Verdicts(2, Clock())
    verdicts.remember("a", 1, 200)
    verdicts.remember("b", 2, 200)
    assert verdicts.find("a") == 1
    verdicts.remember("c", 3, 200)
    assert [verdicts.find(one) for one in "abc"] == [1, None, 3]


async def test_verdicts_are_forgotten_one_by_one_or_all() -> None:
    verdicts: Verdicts[str, int] = Verdicts(clock=Clock())
    for name in "abc":
        verdicts.remember(name, 1, 200)
    verdicts.forget("a")
    verdicts.forget("never known")
    assert [verdicts.find(one) for one in "abc"] == [None, 1, 1]
    verdicts.clear()
    assert [verdicts.find(one) for one in "abc"] == [None, None, None]


class Question:
    """Counts how often it is asked; answers when it is let."""

    def __init__(self) -> None:
        self.asked = 0
        self.let = asyncio.Event()

    async def __call__(self) -> int:
        self.asked += 1
        mine = self.asked
        await self.let.wait()
        return mine


async def test_who_asks_what_is_being_asked_waits_for_the_same_answer() -> None:
    inquiries: Inquiries[str, int] = Inquiries()
    question = Question()
    waiting = [asyncio.ensure_future(inquiries.ask("a", question)) for _ in range(3)]
    await asyncio.sleep(0)
    question.let.set()
    assert await asyncio.gather(*waiting) == [1, 1, 1]
    assert await inquiries.ask("a", question) == 2


async def test_who_leaves_does_not_take_the_answer_from_the_others() -> None:
    inquiries: Inquiries[str, int] = Inquiries()
    question = Question()
    first = asyncio.ensure_future(inquiries.ask("a", question))
    second = asyncio.ensure_future(inquiries.ask("a", question))
    await asyncio.sleep(0)
    first.cancel()
    question.let.set()
    assert await second == 1


@pytest.mark.parametrize("everything", [False, True])
async def test_who_asks_after_a_change_does_not_get_the_answer_from_before(
    everything: bool,
) -> None:
    inquiries: Inquiries[str, int] = Inquiries()
    question = Question()
    before = asyncio.ensure_future(inquiries.ask("a", question))
    await asyncio.sleep(0)
    if everything:
        inquiries.clear()
    else:
        inquiries.forget("a")
    after = asyncio.ensure_future(inquiries.ask("a", question))
    await asyncio.sleep(0)
    question.let.set()
    assert (await before, await after) == (1, 2)


async def test_error_is_told_to_all_who_wait_and_not_remembered() -> None:
    inquiries: Inquiries[str, int] = Inquiries()

    async def fail() -> int:
        await asyncio.sleep(0)
        raise OSError("away")

    waiting = [asyncio.ensure_future(inquiries.ask("a", fail)) for _ in range(2)]
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert [str(one) for one in answers] == ["away", "away"]
    assert await inquiries.ask("a", lambda: asyncio.sleep(0, 7)) == 7
