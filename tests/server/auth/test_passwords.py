import asyncio
import threading

import bcrypt
import pytest

from server.auth import passwords as passwords_module
from server.auth.passwords import Passwords, hash_password, is_password, make_dummy
from server.core.errors import Unavailable

ROUNDS = 4


@pytest.mark.parametrize(
    "password", ["~~", "correct horse", "é" * 36, "x" * 72, "x" * 73, "é" * 2000, "a\0b", "☁" * 25]
)
def test_password_is_that_of_its_hash_and_no_other_is(password: str) -> None:
    hashed = hash_password(password, ROUNDS)
    assert password not in hashed
    assert is_password(password, hashed)
    assert not is_password(password + "x", hashed)
    assert not is_password(password[:-1] + "!", hashed)


def test_equal_passwords_have_different_hashes() -> None:
    assert hash_password("x", ROUNDS) != hash_password("x", ROUNDS)


def test_hash_that_kinto_made_of_a_long_password_is_still_good() -> None:
    long = "x" * 100
    made = bcrypt.hashpw(long.encode()[:72], bcrypt.gensalt(ROUNDS)).decode()
    assert is_password(long, made)
    assert not is_password("y" * 100, made)


@pytest.mark.parametrize("hashed", ["", "nonsense", "$2b$04$short", "sha256+"])
def test_what_is_no_hash_is_of_no_password(hashed: str) -> None:
    assert not is_password("x", hashed)


def test_dummy_is_as_costly_as_a_hash_and_of_no_password() -> None:
    dummy = make_dummy(ROUNDS)
    assert len(dummy) == len(hash_password("x", ROUNDS))
    assert dummy[:7] == hash_password("x", ROUNDS)[:7] == "$2b$04$"
    assert not is_password("x", dummy)


@pytest.mark.gen_test
async def test_hashes_are_made_and_checked_beside_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = set()

    def spy(password: str, hashed: str) -> bool:
        threads.add(threading.current_thread())
        return is_password(password, hashed)

    monkeypatch.setattr(passwords_module, "is_password", spy)
    passwords = Passwords(ROUNDS, 3)
    hashed = await passwords.hash("x")
    assert await passwords.matches("x", hashed)
    assert not await passwords.matches("y", hashed)
    assert threading.current_thread() not in threads
    passwords.close()


@pytest.mark.gen_test
async def test_no_hash_costs_a_check_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    checked = []

    def spy(password: str, hashed: str) -> bool:
        checked.append(hashed)
        return True

    monkeypatch.setattr(passwords_module, "is_password", spy)
    passwords = Passwords(ROUNDS, 3)
    assert not await passwords.matches("x", "")
    assert checked[0].startswith("$2b$04$")
    passwords.close()


@pytest.mark.gen_test
async def test_flood_is_turned_away_and_who_waits_is_served() -> None:
    passwords = Passwords(ROUNDS, 7, max_waiting=3)
    waiting = [asyncio.ensure_future(passwords.hash("x")) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(Unavailable) as caught:
        await passwords.hash("x")
    assert caught.value.headers == {"Retry-After": "7"}
    assert all(is_password("x", hashed) for hashed in await asyncio.gather(*waiting))
    assert await passwords.hash("x")
    passwords.close()
