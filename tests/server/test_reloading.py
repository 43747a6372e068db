import os
from pathlib import Path

from server.reloading import snapshot


def test_snapshot_tells_a_changed_a_new_and_a_removed_source_file(tmp_path: Path) -> None:
    (tmp_path / "server" / "core").mkdir(parents=True)
    source = tmp_path / "server" / "core" / "a.py"
    source.write_text("")
    (tmp_path / "server" / "notes.txt").write_text("")
    first = snapshot(tmp_path)
    assert list(first) == [source]
    os.utime(source, ns=(1, 1))
    assert snapshot(tmp_path) == {source: 1}
    (tmp_path / "handlers").mkdir()
    (tmp_path / "handlers" / "b.py").write_text("")
    assert len(snapshot(tmp_path)) == 2
    source.unlink()
    assert source not in snapshot(tmp_path)


def test_own_sources_are_watched() -> None:
    names = {path.name for path in snapshot()}
    assert {"cli.py", "config.py"} <= names
