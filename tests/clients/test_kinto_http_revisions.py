"""PyPI's kinto-http client in the past: whatever it can ask for is answered as it was."""

import uuid
from itertools import pairwise

from tests.clients.conftest import Serve
from tests.clients.test_kinto_http import connect


def test_records_of_the_past_are_paged_counted_and_found_one_by_one(serve: Serve) -> None:
    client = connect(serve(paginate_by=3), f"past-{uuid.uuid4().hex}")
    client.create_bucket()
    client.create_collection(id="c")
    for number in range(8):
        client.create_record(id=f"r{number}", collection="c", data={"n": number})
    at = client.get_records_timestamp(collection="c")
    for number in range(4):
        client.patch_record(id=f"r{number}", collection="c", data={"n": -1})
    client.delete_record(id="r4", collection="c")
    client.create_record(id="late", collection="c", data={"n": 100})

    then = client.get_records(collection="c", _at=at, _sort="n")
    assert [one["n"] for one in then] == list(range(8))
    stamps = [one["last_modified"] for one in client.get_records(collection="c", _at=at)]
    assert all(later > earlier for later, earlier in pairwise(stamps))
    assert [one["n"] for one in client.get_records(collection="c", _at=at, min_n=6)] == [7, 6]
    deleted = client.get_record(id="r4", collection="c", _at=at)
    assert deleted["data"]["n"] == 4
    now = client.get_records(collection="c", _sort="-n")
    assert [one["n"] for one in now] == [100, 7, 6, 5, -1, -1, -1, -1]


def test_record_goes_back_to_a_revision_by_plain_requests_of_the_session(serve: Serve) -> None:
    client = connect(serve(), f"past-{uuid.uuid4().hex}")
    client.create_bucket()
    client.create_collection(id="c")
    client.create_record(id="r", collection="c", data={"n": 1})
    client.patch_record(id="r", collection="c", data={"n": 2})
    above = f"/buckets/{client.bucket_name}/collections/c/records/r/revisions"
    body, _ = client.session.request("get", above)
    newest, oldest = body["data"]
    assert (newest["data"]["n"], oldest["data"]["n"]) == (2, 1)
    body, _ = client.session.request("post", f"{above}/{oldest['cursor']}/revert")
    assert body["data"]["n"] == 1
    assert client.get_record(id="r", collection="c")["data"] == body["data"]
