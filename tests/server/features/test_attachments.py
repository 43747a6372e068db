from pathlib import Path
from typing import Any

import pytest

from server.config import StartupError
from server.features import attachments
from server.storage.files.folder import FolderFiles
from server.storage.files.memory import MemoryFiles
from tests.server.features.contexts import make_context

pytestmark = pytest.mark.gen_test


async def test_feature_is_off_where_it_is_not_named() -> None:
    assert await attachments.make(make_context()) is None


@pytest.mark.parametrize("name", ["attachments", "kinto_attachment"])
async def test_feature_tells_of_itself_under_the_name_that_clients_look_for(name: str) -> None:
    feature = await attachments.make(make_context(includes=name))
    assert feature is not None
    assert set(feature.capabilities) == {"attachments"}
    assert set(feature.checks) == {"attachments"}
    assert await feature.checks["attachments"]()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ""),
        ({"http_host": "example.org"}, ""),
        (
            {"http_host": "example.org", "http_scheme": "https"},
            "https://example.org/v1/attachments/",
        ),
        ({"attachment__base_url": "https://cdn"}, "https://cdn/"),
        (
            {"attachment__base_url": "https://cdn", "attachment__extra__base_url": "https://x/"},
            "https://x/",
        ),
    ],
)
async def test_address_of_the_files_is_told_where_it_is_known(
    given: dict[str, Any], expected: str
) -> None:
    feature = await attachments.make(make_context(includes="attachments", **given))
    assert feature is not None
    assert feature.capabilities["attachments"]["base_url"] == expected


async def test_server_that_is_read_only_is_well_whatever_its_files_are() -> None:
    feature = await attachments.make(make_context(includes="attachments", readonly="true"))
    assert feature is not None
    assert feature.checks == {}


async def test_option_of_a_collection_that_is_none_stops_the_start() -> None:
    given = {"attachment__resources__blog__max_size_bytes": "many"}
    with pytest.raises(StartupError, match="whole number"):
        await attachments.make(make_context(includes="attachments", **given))


async def test_files_lie_in_a_folder_where_one_is_set(tmp_path: Path) -> None:
    context = make_context(includes="attachments", attachment__base_path=tmp_path)
    assert isinstance(await attachments._open_files(context.settings, context.storage), FolderFiles)
    context = make_context(includes="attachments")
    assert isinstance(await attachments._open_files(context.settings, context.storage), MemoryFiles)


async def test_storage_that_keeps_no_files_needs_a_folder() -> None:
    context = make_context(includes="attachments")
    with pytest.raises(StartupError, match="set attachment.base_path"):
        await attachments._open_files(context.settings, object())  # type: ignore[arg-type]
