"""apt's two formats, and which entries make a Debian root of another release."""

from __future__ import annotations

from pathlib import Path

import pytest

from arena_install.artifacts.apt_sources import OVERRIDE, debian_sources, read_sources
from arena_install.errors import ConfigError

DEB822 = """\
# the archive
Types: deb deb-src
# a comment inside
URIs: http://mirror.example.org/debian/
Suites: bookworm bookworm-updates
Components: main contrib

Types: deb
URIs: http://mirror.example.org/debian-security
Suites: bookworm-security
Components: main

Types: deb
Enabled: no
URIs: http://off.example.org/debian
Suites: bookworm
Components: main

Types: deb
URIs: https://vendor.example.org/node
Suites: nodistro
Components: main
"""

ONE_LINE = """\
deb http://mirror.example.org/debian bookworm main non-free-firmware # the archive
  deb [arch=amd64 trusted=yes] http://mirror.example.org/debian bookworm-updates main
deb http://security.example.org/debian-security bookworm/updates main
deb http://mirror.example.org/debian bookworm-backports main
deb-src http://mirror.example.org/debian bookworm main
#deb http://old.example.org/debian bookworm main
deb cdrom:[Debian]/ bookworm main
deb [signed-by=/usr/share/keyrings/vendor.gpg] https://vendor.example.org/apt bookworm main
deb https://docker.example.org/linux/debian bookworm stable
"""


@pytest.fixture(autouse=True)
def no_override(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(OVERRIDE, raising=False)


def etc_apt(tmp_path: Path, **files: str) -> Path:
    (tmp_path / "sources.list.d").mkdir()
    for name, text in files.items():
        stem, _, suffix = name.rpartition("_")
        path = tmp_path / "sources.list" if stem == "main" else tmp_path / "sources.list.d" / f"{stem}.{suffix}"
        path.write_text(text)
    return tmp_path


def test_deb822_moves_to_another_release(tmp_path: Path) -> None:
    lines = [source.line() for source in debian_sources("trixie", etc_apt(tmp_path, debian_sources=DEB822))]
    assert lines == [
        "deb http://mirror.example.org/debian trixie main",
        "deb http://mirror.example.org/debian trixie-updates main",
        "deb http://mirror.example.org/debian-security trixie-security main",
    ]


def test_one_line_format_leaves_other_vendors_and_backports_out(tmp_path: Path) -> None:
    lines = [source.line() for source in debian_sources("trixie", etc_apt(tmp_path, main_list=ONE_LINE))]
    assert lines == [
        "deb http://mirror.example.org/debian trixie main",
        "deb [trusted=yes] http://mirror.example.org/debian trixie-updates main",
        "deb http://security.example.org/debian-security trixie-security main",
    ]


def test_both_files_together_repeat_nothing(tmp_path: Path) -> None:
    root = etc_apt(tmp_path, main_list="deb http://mirror.example.org/debian bookworm main\n", debian_sources=DEB822)
    assert len(read_sources(root)) == 5
    assert len(debian_sources("bookworm", root)) == 3


def test_sid_has_neither_updates_nor_security(tmp_path: Path) -> None:
    assert [source.suite for source in debian_sources("sid", etc_apt(tmp_path, debian_sources=DEB822))] == ["sid"]


def test_an_embedded_key_does_not_travel(tmp_path: Path) -> None:
    text = (
        "Types: deb\nURIs: http://mirror.example.org/debian\nSuites: bookworm\nComponents: main\n"
        "Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n -----END PGP PUBLIC KEY BLOCK-----\n"
    )
    (source,) = debian_sources("trixie", etc_apt(tmp_path, debian_sources=text))
    assert source.line() == "deb http://mirror.example.org/debian trixie main"


def test_a_list_of_mirrors_is_read_where_it_is(tmp_path: Path) -> None:
    mirrors = tmp_path / "mirrors.list"
    mirrors.write_text(
        "# chosen by the cloud\nhttps://cloud.example.org/debian\tpriority:1\nhttp://b.example.org/debian\n"
    )
    text = f"Types: deb\nURIs: mirror+file://{mirrors}\nSuites: bookworm\nComponents: main\n"
    (source,) = debian_sources("trixie", etc_apt(tmp_path, debian_sources=text))
    assert source.uri == "https://cloud.example.org/debian"


def test_without_a_debian_source_the_error_says_what_to_write(tmp_path: Path) -> None:
    root = etc_apt(tmp_path, main_list="deb http://mirror.example.org/ubuntu noble main\n")
    with pytest.raises(ConfigError) as error:
        debian_sources("trixie", root)
    assert OVERRIDE in str(error.value) and error.value.exit_code == 2


def test_a_file_of_ones_own_takes_the_place_of_the_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "own"
    own.write_text("deb http://own.example.org/debian trixie main\n")
    monkeypatch.setenv(OVERRIDE, str(own))
    (source,) = debian_sources("trixie", etc_apt(tmp_path, debian_sources=DEB822))
    assert source.uri == "http://own.example.org/debian"
    monkeypatch.setenv(OVERRIDE, str(tmp_path / "missing"))
    with pytest.raises(ConfigError, match="not there"):
        debian_sources("trixie")


@pytest.mark.parametrize(
    ("files", "where"),
    [
        ({"main_list": "# ok\ndeb http://mirror.example.org/debian\n"}, "sources.list:2"),
        ({"debian_sources": "\nTypes: deb\nSuites: bookworm\n"}, "debian.sources:2"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(tmp_path: Path, files: dict[str, str], where: str) -> None:
    with pytest.raises(ConfigError) as error:
        read_sources(etc_apt(tmp_path, **files))
    assert error.value.where.endswith(where)
