import pytest

from handlers.openapi_routes import about


@pytest.mark.parametrize(
    ("method", "template", "status", "has_body"),
    [
        ("GET", "/", "200", False),
        ("POST", "/batch", "200", True),
        ("POST", "/__flush__", "202", False),
        ("POST", "/buckets/{bucket_id}/collections/{c}/records/{id}/attachment", "2XX", True),
        ("DELETE", "/buckets/{bucket_id}/collections/{c}/records/{id}/attachment", "204", False),
        ("GET", "/buckets/{bucket_id}/revisions", "200", False),
        ("GET", "/buckets/{bucket_id}/snapshot/collections/{collection_at}", "200", False),
        ("POST", "/something/new", "2XX", True),
        ("GET", "/something/new", "2XX", False),
    ],
)
def test_operation_is_described_by_its_endpoint_or_in_general(
    method: str, template: str, status: str, has_body: bool
) -> None:
    said = about(method, template)
    assert said.status == status
    assert (said.body is not None) == has_body


def test_lists_that_are_not_of_objects_have_the_parameters_of_lists() -> None:
    for template in ("/permissions", "/buckets/{bucket_id}/history", "/x/revisions"):
        assert {"since", "limit", "filters"} <= set(about("GET", template).parameters)
