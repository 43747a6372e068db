from pathlib import Path

import pytest

from server.settings_sources import Given, merge, read_environment, read_ini


@pytest.fixture
def ini(tmp_path: Path) -> Path:
    return tmp_path / "kinto.ini"


def test_only_the_applications_section_is_read(ini: Path) -> None:
    ini.write_text("[server:main]\nport = %(nowhere)s\n[app:main]\nkinto.readonly = true\n")
    found = read_ini(ini)
    assert found["readonly"].text == "true"
    assert "port" not in found


def test_names_keep_their_case_and_here_is_the_files_folder(ini: Path) -> None:
    ini.write_text("[app:main]\nkinto.Blog.record_cache_expires_seconds = %(here)s/x\n")
    found = read_ini(ini)["Blog.record_cache_expires_seconds"]
    assert found.text == f"{ini.parent}/x"
    assert found.must_be_known


def test_name_without_prefix_may_belong_to_another_package(ini: Path) -> None:
    ini.write_text("[app:main]\npyramid.debug = true\n")
    assert not read_ini(ini)["pyramid.debug"].must_be_known


def test_same_setting_with_and_without_prefix_is_refused_if_they_differ(ini: Path) -> None:
    ini.write_text("[app:main]\nreadonly = true\nkinto.readonly = false\n")
    with pytest.raises(ValueError, match=r"both readonly and kinto\.readonly"):
        read_ini(ini)


@pytest.mark.parametrize(
    "text",
    [
        "[app:other]\na = b\n",
        "no section\n",
        "[app:main]\na = %(missing)s\n",
        "[app:main]\nuse = config:base.ini\n",
        "[app:main]\na = 1\na = 2\n",
    ],
)
def test_ini_file_that_cannot_be_read_is_one_sentence(ini: Path, text: str) -> None:
    ini.write_text(text)
    with pytest.raises(ValueError) as caught:
        read_ini(ini)
    assert str(ini) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_ini_file_is_named(ini: Path) -> None:
    with pytest.raises(ValueError, match="No such file"):
        read_ini(ini)


def test_environment_is_read_by_prefix_and_as_on_heroku() -> None:
    found = read_environment(
        {
            "KINTO_MULTIAUTH_POLICIES": "basicauth",
            "PORT": "5000",
            "MONGODB_URI": "",
            "KINTO_INI": "a.ini",
            "KINTO_SERVICE_HOST": "10.0.0.1",
            "HOME": "/root",
        }
    )
    assert {name: given.text for name, given in found.items()} == {
        "multiauth_policies": "basicauth",
        "port": "5000",
    }


def test_own_variable_goes_before_that_of_heroku() -> None:
    assert read_environment({"KINTO_PORT": "1", "PORT": "2"})["port"].text == "1"


def test_environment_overrides_the_ini_file_whatever_the_spelling() -> None:
    ini = {"blog-1.record_cache_expires_seconds": Given("x", "1", "ini")}
    environment = {"blog_1_record_cache_expires_seconds": Given("x", "2", "environment")}
    merged = merge(ini, environment, [])
    assert merged == {
        "blog-1.record_cache_expires_seconds": environment["blog_1_record_cache_expires_seconds"]
    }
