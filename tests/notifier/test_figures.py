import pytest

from notifier.figures import measure
from tests.handlers.conftest import ALICE
from tests.handlers.lives import EVENTS, R, open_live

pytestmark = pytest.mark.gen_test(timeout=60)


async def test_connections_are_counted_by_transport_and_what_waits_for_them() -> None:
    async with open_live({"KINTO_STORAGE_BACKEND": "memory"}) as server:
        idle = measure(server.live)
        assert idle.connections == {"websocket": 0, "sse": 0, "longpoll": 0}
        assert (idle.subscriptions, idle.messages, idle.well) == (0, [], True)
        await server.furnish()
        talk = await server.listen(R, user=ALICE, headers=EVENTS)
        await talk.until("ready")
        etag = (await server.ask(f"GET {R}")).headers["etag"]
        await server.poll(f"{R}?_since={etag}&_wait=20")
        figures = measure(server.live)
        assert figures.connections == {"websocket": 0, "sse": 1, "longpoll": 1}
        assert figures.subscriptions == 2
        assert (figures.messages, figures.message_bytes) == ([0], [0])
