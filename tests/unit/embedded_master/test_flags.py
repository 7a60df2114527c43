"""Mesos' flags."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubedcos.embedded.agent.flag_table import AGENT_FLAGS
from kubedcos.embedded.flags import ANY, Flag, parse_flags, size
from kubedcos.embedded.master.options import MASTER_FLAGS, read_options
from kubedcos.errors import InvalidInput
from kubedcos.mesos.durations import duration

TABLE = (
    Flag("port", "int", "5050"),
    Flag("ratio", "number", "0.5"),
    Flag("quiet", "bool", "false"),
    Flag("domain", "json"),
    Flag("work_dir", "path"),
    Flag("agent_ping_timeout", "duration", "15secs", aliases=("slave_ping_timeout",)),
    Flag("hooks", harmless=("",), why="there are no modules"),
    Flag("logbufsecs", "int", "0", harmless=ANY),
)


def problems(*arguments: str, **environment: str) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        parse_flags(TABLE, arguments, environment)
    return [str(problem) for problem in caught.value.problems]


def test_the_command_line_wins_over_the_environment() -> None:
    flags = parse_flags(TABLE, ["--port=1"], {"MESOS_PORT": "2", "MESOS_QUIET": "1"})
    assert flags.integer("port") == 1
    assert flags.boolean("quiet") is True


def test_booleans_come_in_three_forms() -> None:
    for argument, value in (("--quiet", True), ("--no-quiet", False), ("--quiet=true", True)):
        assert parse_flags(TABLE, [argument], {}).boolean("quiet") is value


def test_unknown_variables_are_ignored_and_unknown_flags_are_fatal() -> None:
    assert parse_flags(TABLE, [], {"MESOS_PROT": "1", "PORT": "2"}).integer("port") == 5050
    assert problems("--prot=1", "word", "--port", "--no-port")
    assert len(problems("--prot=1", "word", "--port", "--no-port")) == 4


def test_all_problems_are_told_at_once_and_name_the_flag() -> None:
    told = problems("--port=x", "--quiet=maybe", "--port=1", MESOS_DOMAIN="{")
    assert len(told) == 4
    assert any("flag --port: found the flag twice" in line for line in told)
    assert any("environment MESOS_DOMAIN" in line for line in told)


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        ("--port=x", "flag --port: found 'x'; wanted a whole number"),
        ("--port=99999", "flag --port: found '99999'; wanted a port, 0 to 65535"),
        ("--port=-1", "flag --port: found '-1'; wanted a port, 0 to 65535"),
        ("--ratio=much", "flag --ratio: found 'much'; wanted a number"),
        ("--domain={", "flag --domain: found '{'; wanted JSON (Expecting property name"),
        (
            "--domain=/nowhere",
            "flag --domain: found '/nowhere' (No such file or directory); wanted a file that can",
        ),
    ],
)
def test_what_is_wrong_with_a_value_is_told_with_what_would_be_right(
    argument: str, told: str
) -> None:
    (problem,) = problems(argument)
    assert problem.startswith(told)


def test_a_file_that_is_no_text_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "domain").write_bytes(b"\xff\xfe")
    (problem,) = problems(f"--domain={tmp_path}/domain")
    assert f"found '{tmp_path}/domain'; wanted a file of UTF-8 text (" in problem


def test_a_flag_that_may_have_one_value_only_has_no_other() -> None:
    assert parse_flags(MASTER_FLAGS, ["--role_sorter=drf"], {}).text("role_sorter") == "drf"
    with pytest.raises(InvalidInput, match="wanted drf"):
        parse_flags(MASTER_FLAGS, ["--role_sorter=random"], {})


def test_of_credentials_only_the_file_is_shown(tmp_path: Path) -> None:
    table = (Flag("credential", "json", confidential=True),)
    path = tmp_path / "credential"
    path.write_text('{"principal": "agent", "secret": "hush"}')
    for text, shown in ((f"file://{path}", str(path)), (path.read_text(), "****")):
        flags = parse_flags(table, [f"--credential={text}"], {})
        assert flags.json("credential")["secret"] == "hush"
        assert flags.shown() == {"credential": shown}


def test_values_come_from_files(tmp_path: Path) -> None:
    path = tmp_path / "domain"
    path.write_text('{"a": 1}\n')
    for value in (f"file://{path}", str(path)):
        assert parse_flags(TABLE, [f"--domain={value}"], {}).json("domain") == {"a": 1}
    assert problems(f"--domain=file://{tmp_path / 'missing'}")
    flags = parse_flags(TABLE, ["--work_dir=file:///var/x"], {})
    assert flags.text("work_dir") == "/var/x"


def test_old_names_still_work() -> None:
    flags = parse_flags(TABLE, ["--slave_ping_timeout=2mins"], {})
    assert flags.seconds("agent_ping_timeout") == 120
    assert flags.shown()["agent_ping_timeout"] == "2mins"


def test_what_is_not_supported_is_refused_with_a_sentence_unless_it_changes_nothing() -> None:
    assert parse_flags(TABLE, ["--hooks=", "--logbufsecs=7"], {}).text("hooks") == ""
    [told] = problems("--hooks=org_x")
    assert "there are no modules" in told


@pytest.mark.parametrize(
    ("text", "seconds"), [("15secs", 15), ("1.5mins", 90), ("2weeks", 1209600), ("5ms", 0.005)]
)
def test_durations(text: str, seconds: float) -> None:
    assert duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["5", "secs", "5 secs", "-1secs", "1min", ""])
def test_bad_durations(text: str) -> None:
    with pytest.raises(ValueError, match="no duration"):
        duration(text)


def test_sizes() -> None:
    assert size("2GB") == 2 << 30
    with pytest.raises(ValueError, match="no size"):
        size("2G")


def test_the_masters_flags_are_those_of_mesos_and_sorted() -> None:
    names = [flag.name for flag in MASTER_FLAGS]
    assert names == sorted(names)
    assert len(set(names)) == len(names)


def refused(*arguments: str) -> str:
    with pytest.raises(InvalidInput) as caught:
        read_options(["--ip=127.0.0.1", "--hostname=h", *arguments], {})
    return str(caught.value)


def test_options_that_do_not_go_together_are_refused() -> None:
    assert "--work_dir" in refused()
    assert "--quorum" in refused("--work_dir=/x", "--zk=zk://h:1/mesos")
    memory = "--registry=in_memory"
    assert "--credentials" in refused(memory, "--authenticate_agents")
    assert "--registry" in refused("--registry=etcd")
    assert "--ip_discovery_command" in refused(memory, "--ip_discovery_command=echo 1.2.3.4")
    assert "--min_allocatable_resources" in refused(memory, "--min_allocatable_resources=cpus")
    assert "acls" in refused(memory, '--acls={"no_such_object": []}')
    for limit in ("5", "0/1mins", "1/soon"):
        assert "--agent_removal_rate_limit" in refused(
            memory, f"--agent_removal_rate_limit={limit}"
        )


def test_a_plain_master() -> None:
    options = read_options(
        ["--ip=127.0.0.1", "--no-hostname_lookup", "--registry=in_memory", "--roles=a,b"],
        {
            "MESOS_OFFER_TIMEOUT": "2mins",
            "MESOS_QUORUM": "2",
            "MESOS_AGENT_REMOVAL_RATE_LIMIT": "4/1mins",
        },
    )
    assert options.hostname == "127.0.0.1"
    assert options.offer_timeout == 120
    assert options.removal_interval == 15
    assert options.roles == {"a", "b"}
    assert options.min_allocatable == ({"cpus": 10}, {"mem": 32000})
    assert options.flags.shown()["quorum"] == "2"


def test_damaged_credentials_say_what_is_wanted(tmp_path: Path) -> None:
    path = tmp_path / "credentials"
    path.write_text("principal secret\n")
    told = refused("--registry=in_memory", "--authenticate_agents", f"--credentials={path}")
    assert str(path) in told
    assert '{"credentials"' in told


def test_passwords_are_not_shown() -> None:
    flags = parse_flags((Flag("zk"),), ["--zk=zk://mesos:s3cret@h1:1,h2:1/mesos"], {})
    assert flags.shown() == {"zk": "zk://mesos:****@h1:1,h2:1/mesos"}
    assert flags.text("zk") == "zk://mesos:s3cret@h1:1,h2:1/mesos"


@pytest.mark.parametrize(("table", "name"), [(MASTER_FLAGS, "zk"), (AGENT_FLAGS, "master")])
def test_of_a_url_in_a_file_only_the_file_is_shown(
    tmp_path: Path, table: tuple[Flag, ...], name: str
) -> None:
    path = tmp_path / "zk"
    path.write_text("zk://mesos:s3cret@h1:1/mesos")
    flags = parse_flags(table, [f"--{name}=file://{path}"], {})
    assert flags.text(name) == "zk://mesos:s3cret@h1:1/mesos"
    assert flags.shown()[name] == str(path)
