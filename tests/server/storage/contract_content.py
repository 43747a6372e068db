"""What a storage promises about content: any JSON comes back as it was; and the small services."""

import asyncio

import pytest

from server.core.json_text import dump_json, load_json, parse_json
from tests.server.storage.scenes import Scene, delete, patch, put

DEEP = b'{"deep":' + b"[" * 199 + b"]" * 199 + b"}"

ODD = {
    "dollar keys": b'{"$set":{"$gt":1},"$where":"1"}',
    "dotted keys": b'{"a.b":1,"a":{"b":2},".":3,"..":{".":4}}',
    "empty keys": b'{"":{"":[{"":""}]}}',
    "NUL in keys and values": b'{"a\\u0000b":"\\u0000","\\u0000":1}',
    "names of our own fields": b'{"_id":1,"bucket":2,"list":3,"pos":"x","q":{},"deleted":false}',
    "huge integers": b'{"a":%d,"b":-%d,"c":9223372036854775808}' % (10**100, 10**400),
    "more digits than the interpreter converts": b'{"a":' + b"7" * 5000 + b"}",
    "floats": b'{"a":1.0,"b":1e300,"c":-0.0,"d":0.1}',
    "200 levels": DEEP,
    "order of keys": b'{"z":1,"y":2,"x":{"b":1,"a":2}}',
    "beyond the BMP": '{"𝄞":"😀 é \u2028"}'.encode(),
    "a large array": b'{"a":[' + b",".join(b"%d" % n for n in range(30000)) + b"]}",
    "percent signs": b'{"%24":1,"$":2,"%":3,"":4}',
}


@pytest.mark.gen_test(timeout=60)
class ContentContract:
    """What is stored is what is served."""

    async def test_odd_content_comes_back_byte_for_byte(self, scene: Scene) -> None:
        collection = await scene.make_collection()
        for number, (what, text) in enumerate(ODD.items()):
            uri = f"{collection}/records/r{number}"
            fields = parse_json(text)
            made = await scene.write(put(uri, fields))
            head = b'{"id":"r%d","last_modified":%d,' % (number, made.last_modified)
            assert made.json == head + dump_json(fields)[1:], what
            found = await scene.find(uri)
            assert found is not None, what
            assert found.json == made.json, what
            assert dump_json(load_json(found.json)) == made.json, what
            again = await scene.write(patch(uri, {}))
            assert again.json.endswith(dump_json(fields)[1:]), what
        texts = {one.uri: one.json for one in await scene.page(f"{collection}/records")}
        logged = [one for one in await scene.log() if one.uri in texts]
        assert len(texts) == len(ODD)
        assert len(logged) == 2 * len(ODD)
        assert texts == {one.uri: one.json for one in logged if one.action == "update"}
        assert all(one.before for one in logged if one.action == "update")

    async def test_objects_of_four_mebibytes_are_stored_changed_and_deleted(
        self, scene: Scene
    ) -> None:
        collection = await scene.make_collection()
        uri = f"{collection}/records"
        for filler in ("x", "y"):
            text = filler * ((4 << 20) - 20)
            await asyncio.gather(
                *(
                    scene.commit(put(f"{uri}/{name}", {"text": text}), size=len(text))
                    for name in ("a", "b", "c")
                )
            )
        page = await scene.page(uri)
        assert sorted(one.id for one in page) == ["a", "b", "c"]
        assert all(one.data["text"] == text for one in page)
        await scene.do(delete(f"{uri}/a"))
        assert len(await scene.ids(uri, "like_text=y")) == 2

    async def test_secret_is_one_for_ever_and_another_for_each_name(self, scene: Scene) -> None:
        secrets = await asyncio.gather(*(scene.storage.secret("token") for _ in range(5)))
        assert len(set(secrets)) == 1
        assert len(bytes.fromhex(secrets[0])) == 32
        assert await scene.storage.secret("token") == secrets[0]
        assert await scene.storage.secret("other") != secrets[0]

    async def test_nonce_is_claimed_once(self, scene: Scene) -> None:
        claims = await asyncio.gather(*(scene.storage.claim("n", 600) for _ in range(10)))
        assert sorted(claims) == [False] * 9 + [True]
        assert await scene.storage.claim("m", 600)
        assert not await scene.storage.claim("n", 600)

    async def test_text_is_kept_under_its_name_until_another_is(self, scene: Scene) -> None:
        storage = scene.storage
        assert await storage.kept("state") is None
        await storage.keep("state", "one", 600)
        await storage.keep("state", 'two "\x00"', None)
        await storage.keep("other", "three", 600)
        assert [await storage.kept("state"), await storage.kept("other")] == [
            'two "\x00"',
            "three",
        ]

    async def test_text_is_forgotten_when_its_time_is_over(self, scene: Scene) -> None:
        await scene.storage.keep("state", "one", 0)
        assert await scene.storage.kept("state") is None
        assert await scene.storage.take("state") is None
        await scene.storage.keep("state", "two", 600)
        assert await scene.storage.kept("state") == "two"

    async def test_text_is_taken_once(self, scene: Scene) -> None:
        await scene.storage.keep("state", "one", 600)
        taken = await asyncio.gather(*(scene.storage.take("state") for _ in range(10)))
        assert sorted(one or "" for one in taken) == [""] * 9 + ["one"]
        assert await scene.storage.kept("state") is None

    async def test_nonce_can_be_claimed_again_when_its_time_is_over(self, scene: Scene) -> None:
        assert await scene.storage.claim("n", 0)
        assert await scene.storage.claim("n", 600)
        assert not await scene.storage.claim("n", 600)

    async def test_storage_that_works_says_so(self, scene: Scene) -> None:
        assert await scene.storage.check()
