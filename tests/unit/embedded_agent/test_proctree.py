from kubedcos.embedded.agent.executor.proctree import Process, parse_stat, tree


def process(pid: int, parent: int, group: int = 0, session: int = 0) -> Process:
    return Process(pid, "S", parent, group or pid, session or pid)


def test_a_command_name_may_look_like_anything() -> None:
    assert parse_stat("12 (a) b (c) S 3 4 5 0 -1") == Process(12, "S", 3, 4, 5)


def test_descendants_and_whoever_shares_a_session() -> None:
    everything = [
        process(1, 0),
        process(50, 1, 50, 50),  # the executor
        process(60, 50),  # its command
        process(61, 60, 60, 60),
        process(62, 1, 62, 60),  # left the tree, not the session
        process(63, 62),  # child of that one, with a session of its own
        process(64, 1, 64, 63),
        process(70, 1),
    ]
    assert tree(60, everything, spare=50) == {60, 61, 62, 63, 64}


def test_nobody_is_dragged_in_by_sessions_of_other_namespaces() -> None:
    everything = [process(60, 50), Process(61, "S", 60, 0, 0), Process(99, "S", 1, 0, 0)]
    assert tree(60, everything, spare=50) == {60, 61}


def test_zombies_do_not_count() -> None:
    assert tree(60, [process(60, 50), Process(61, "Z", 60, 60, 60)], spare=50) == {60}


def test_the_rest_is_found_when_the_command_itself_is_gone() -> None:
    assert tree(60, [process(50, 1), process(61, 1, 60, 60)], spare=50) == {61}
