from server.config import load_settings


def test_quotas_of_all_and_of_one_are_read_from_the_environment() -> None:
    settings = load_settings(
        {
            "KINTO_QUOTAS_BUCKET_MAX_BYTES": "100",
            "KINTO_QUOTAS_BUCKET_MAX_BYTES_PER_ITEM": "10",
            "KINTO_QUOTAS_BUCKET_BLOG_MAX_BYTES": "200",
            "KINTO_QUOTAS_COLLECTION_BLOG_MAX_ITEMS": "5",
            "KINTO_QUOTAS_COLLECTION_BLOG_POSTS_MAX_ITEMS": "0",
        }
    ).quotas
    assert settings.limits("bucket") == {
        "max_bytes": {"": 100, "blog": 200},
        "max_items": {},
        "max_bytes_per_item": {"": 10},
    }
    assert settings.limits("collection") == {
        "max_bytes": {},
        "max_items": {"blog": 5, "blog_posts": 0},
        "max_bytes_per_item": {},
    }
