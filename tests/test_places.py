"""The journal's folder: found from below it, and made so that nobody else can read what is in it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_agent_journal.places import HOME, found_from, make_file, make_folder


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    """Stand under each of these umasks."""
    before = os.umask(request.param)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder below a home folder, with a folder `src/deep` in it."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "project" / "src" / "deep").mkdir(parents=True)
    return tmp_path / "project"


def test_where_there_is_none_it_is_here(project: Path) -> None:
    """Without a journal above, the working directory gets its own."""
    assert found_from(project / "src") == project / "src" / HOME


def test_it_is_found_from_below(project: Path) -> None:
    """The nearest one counts, and that of the folder itself before any other."""
    (project / HOME).mkdir()
    assert found_from(project / "src" / "deep") == project / HOME
    (project / "src" / HOME).mkdir()
    assert found_from(project / "src" / "deep") == project / "src" / HOME
    assert found_from(project / "src") == project / "src" / HOME


def test_a_checkout_is_a_bound(project: Path) -> None:
    """The root of a checkout may have it, what is above the root is another project's."""
    (project / HOME).mkdir()
    (project / ".git").mkdir()
    assert found_from(project / "src" / "deep") == project / HOME
    (project / "src" / ".git").write_text("gitdir: elsewhere")
    assert found_from(project / "src" / "deep") == project / "src" / "deep" / HOME


def test_the_home_folder_is_no_project(project: Path) -> None:
    """What was run in the home folder once does not take in all that is below it; there itself it counts."""
    (project.parent / HOME).mkdir()
    assert found_from(project) == project / HOME
    assert found_from(project.parent) == project.parent / HOME


def test_anybodys_folder_is_no_project(project: Path) -> None:
    """In a folder that everybody may write to, as /tmp, anybody could have laid one to read what we write."""
    (project / HOME).mkdir()
    project.chmod(0o777)
    assert found_from(project / "src") == project / "src" / HOME


def test_a_strangers_folder_is_not_taken(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal above that another user owns is not ours to write to; one in the working directory is."""
    (project / HOME).mkdir()
    uid = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: uid + 1)
    assert found_from(project / "src") == project / "src" / HOME
    assert found_from(project) == project / HOME


def test_a_folder_that_is_gone(project: Path) -> None:
    """Where nothing can be looked at the folder is its own."""
    assert found_from(project / "gone") == project / "gone" / HOME


def test_what_is_made_is_private(tmp_path: Path, umask: None) -> None:
    """Folders and files are for their owner alone, also those above that had to be made."""
    home = tmp_path / "a" / HOME
    make_folder(home / "spool")
    make_file(home / "journal.db")
    assert [mode(path) for path in (home.parent, home, home / "spool")] == [0o700] * 3
    assert mode(home / "journal.db") == 0o600


def test_the_folder_keeps_itself_out_of_git(tmp_path: Path) -> None:
    """It is made with a .gitignore that takes everything out; one that was there before is left as it is."""
    make_folder(tmp_path / HOME)
    assert "*" in (tmp_path / HOME / ".gitignore").read_text().split()
    (tmp_path / "other" / HOME).mkdir(parents=True)
    make_folder(tmp_path / "other" / HOME)
    assert not (tmp_path / "other" / HOME / ".gitignore").exists()


def test_what_is_there_stays(tmp_path: Path) -> None:
    """A folder or file that somebody shares on purpose keeps its mode and content."""
    (tmp_path / "shared").mkdir(mode=0o775)
    (tmp_path / "shared").chmod(0o775)
    (tmp_path / "shared" / "journal.db").write_text("x")
    (tmp_path / "shared" / "journal.db").chmod(0o664)
    make_folder(tmp_path / "shared")
    make_file(tmp_path / "shared" / "journal.db")
    assert [mode(tmp_path / "shared"), mode(tmp_path / "shared" / "journal.db")] == [0o775, 0o664]
    assert (tmp_path / "shared" / "journal.db").read_text() == "x"


def test_what_cannot_be_made(tmp_path: Path) -> None:
    """A file where a folder is to be is an error of the system, as ever."""
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError):
        make_folder(tmp_path / "file" / "below" / "deep")
    with pytest.raises(FileExistsError):
        make_folder(tmp_path / "file")
