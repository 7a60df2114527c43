"""Values arrive in services as they were given: read by systemd's own code where it is there."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.systemd_reading import variables, words

from kubedcos.errors import InvalidInput
from kubedcos.render.systemd import environment_line, environment_setting, exec_argument

# Any text but what systemd leaves out.
TEXTS = st.text(
    st.one_of(
        st.sampled_from("'\"\\\n\t $%`;#="),
        st.characters(codec="utf-8", exclude_characters="\x7f", min_codepoint=32),
    )
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(value=TEXTS)
def test_a_file_of_variables_keeps_values_and_lines_apart(tmp_path: Path, value: str) -> None:
    text = f"{environment_line('A', value)}\n{environment_line('B', 'b')}\n"
    assert variables(text, tmp_path / "file") == {"A": value, "B": "b"}


@settings(deadline=None)
@given(value=TEXTS)
def test_a_unit_keeps_values_and_words_apart(value: str) -> None:
    line = f"{environment_setting('A', value)} {exec_argument(value)} end"
    setting, argument, end = words(line)
    assert setting.replace("%%", "%") == f"A={value}"
    assert argument.replace("%%", "%").replace("$$", "$") == value
    assert end == "end"


def test_what_is_there_already_is_written_as_before() -> None:
    assert environment_line("MESOS_PORT", 5050) == "MESOS_PORT='5050'"
    assert environment_setting("LD_LIBRARY_PATH", "/opt/lib") == '"LD_LIBRARY_PATH=/opt/lib"'
    assert exec_argument("--ip=10.0.0.1") == "'--ip=10.0.0.1'"


@pytest.mark.parametrize("value", ["a\rb", "\x00", "\x1b[1m", "\x7f", "\udcff"])
def test_a_value_that_systemd_leaves_out_is_refused_and_not_shown(value: str) -> None:
    with pytest.raises(InvalidInput, match="environment variable TOKEN: found ") as refused:
        environment_line("TOKEN", f"secret{value}")
    assert "secret" not in str(refused.value)
    with pytest.raises(InvalidInput, match="argument '--token': found "):
        exec_argument(f"--token={value}")


@pytest.mark.parametrize("name", ["", "1A", "A-B", "A B", "A\nB", "Ä"])
def test_a_name_that_systemd_leaves_out_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="a name of letters, digits and underscores"):
        environment_setting(name, "x")
