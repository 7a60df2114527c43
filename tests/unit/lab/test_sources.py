from kubedcos.lab.sources import of_release, parse_deb822, parse_one_line, settings

DEB822 = """\
# Debian
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: https://packages.example/node
Suites: nodistro
Components: main
Signed-By: /usr/share/keyrings/node.gpg

Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main
"""


def test_both_formats_of_apt_say_the_same() -> None:
    lines = parse_one_line(
        "# comment\n"
        "deb [arch=amd64 signed-by=/k/debian-archive-keyring.gpg] http://m.example/debian "
        "bookworm main # local\n"
        "deb-src http://m.example/debian bookworm main\n"
    )
    assert [source.line for source in lines] == ["deb http://m.example/debian bookworm main"]
    assert [source.line for source in parse_deb822(DEB822)][:2] == [
        "deb http://mirror.example/debian bookworm main contrib",
        "deb http://mirror.example/debian bookworm-updates main contrib",
    ]


def test_sources_that_are_switched_off_are_left_out() -> None:
    assert not [source for source in parse_deb822(DEB822) if "off" in source.uri]


def test_third_parties_are_left_out_even_with_the_releases_name() -> None:
    third = parse_one_line("deb [signed-by=/k/other.gpg] https://third.example bookworm main\n")
    kept = of_release([*parse_deb822(DEB822), *third], "bookworm")
    assert {source.uri for source in kept} == {"http://mirror.example/debian"}


def test_another_release_takes_nothing_from_this_ones_sources() -> None:
    assert of_release(parse_deb822(DEB822), "trixie") == []


def test_proxies_and_download_settings_are_kept_and_nothing_else() -> None:
    dump = (
        'Acquire::http::Proxy "http://proxy.example:3142";\n'
        'Acquire::https::mirror.example::Proxy "DIRECT";\n'
        'Acquire::Check-Valid-Until "false";\n'
        'Dir::Cache "var/cache/apt";\n'
        'APT::Architecture "amd64";\n'
        'Acquire::Languages "";\n'
    )
    assert settings(dump) == {
        "Acquire::http::Proxy": "http://proxy.example:3142",
        "Acquire::https::mirror.example::Proxy": "DIRECT",
        "Acquire::Check-Valid-Until": "false",
    }
