"""The contract suite: what every storage keeps, in code.

A backend's test module makes a class of its own of ``StorageContract`` and
gives the fixtures ``storage`` (opened in ``io_loop``, empty) and ``read_log``.
"""

from tests.server.storage.contract_atomic import AtomicContract
from tests.server.storage.contract_content import ContentContract
from tests.server.storage.contract_counts import CountingContract
from tests.server.storage.contract_feed import FeedContract
from tests.server.storage.contract_limits import LimitsContract
from tests.server.storage.contract_loads import LoadingContract
from tests.server.storage.contract_log import BytesContract, LogContract
from tests.server.storage.contract_parents import ParentsContract
from tests.server.storage.contract_reads import ReadingContract
from tests.server.storage.contract_trims import TrimmingContract
from tests.server.storage.contract_writes import WritingContract


class StorageContract(
    ReadingContract,
    WritingContract,
    AtomicContract,
    LimitsContract,
    ParentsContract,
    ContentContract,
    LogContract,
    BytesContract,
    FeedContract,
    LoadingContract,
    CountingContract,
    TrimmingContract,
):
    """All that ``server/storage/base.py`` promises."""
