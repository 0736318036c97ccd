import pytest

from smart_app.session import Sessions


@pytest.fixture
def clock():
    return [1000.0]


@pytest.fixture
def sessions(clock):
    return Sessions(idle_s=60, lifetime_s=300, link_s=30, clock=lambda: clock[0])


def test_a_session_gives_back_the_token_it_was_opened_with(sessions):
    assert sessions.token(sessions.open("t")) == "t"


def test_two_sessions_of_one_token_have_different_names(sessions):
    assert sessions.open("t") != sessions.open("t")


def test_an_unknown_name_gives_no_token(sessions):
    assert sessions.token("") is None
    assert sessions.token("guessed") is None


def test_a_session_ends_when_it_is_not_used(sessions, clock):
    name = sessions.open("t")
    clock[0] += 59
    assert sessions.token(name) == "t"
    clock[0] += 60
    assert sessions.token(name) is None


def test_a_session_ends_at_last_however_much_it_is_used(sessions, clock):
    name = sessions.open("t")
    for _ in range(5):
        clock[0] += 59
        assert sessions.token(name) == "t"
    clock[0] += 59
    assert sessions.token(name) is None


def test_a_closed_session_gives_no_token(sessions):
    name = sessions.open("t")
    sessions.close(name)
    assert sessions.token(name) is None


def test_a_link_works_once(sessions):
    code = sessions.link("t")
    assert sessions.redeem(code) == "t"
    assert sessions.redeem(code) is None


def test_a_link_is_useless_after_its_time(sessions, clock):
    code = sessions.link("t")
    clock[0] += 30
    assert sessions.redeem(code) is None


def test_no_name_or_code_is_kept_in_clear(sessions):
    name, code = sessions.open("t"), sessions.link("t")
    assert name not in sessions._sessions
    assert code not in sessions._links


def test_logins_cannot_fill_the_memory(sessions, monkeypatch):
    monkeypatch.setattr("smart_app.session._MOST", 10)
    names = [sessions.open("t") for _ in range(25)]
    assert len(sessions._sessions) <= 10
    assert sessions.token(names[-1]) == "t"
    assert sessions.token(names[0]) is None
