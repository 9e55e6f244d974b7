import os
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest

from event_log.owner import Owner, _started_by_ps, new_owner, started_at


@pytest.fixture
def me() -> Owner:
    return new_owner()


def test_an_owner_is_its_process_and_no_two_are_the_same(me):
    assert (me.host, me.pid) == (os.uname().nodename, os.getpid())
    assert me.started == started_at(os.getpid()) != ""
    assert replace(new_owner(), id=me.id) == me
    assert new_owner().id != me.id


def test_a_living_process_is_not_dead_to_another_of_its_host(me):
    assert new_owner().is_known_dead_to(me) is False


def test_a_process_that_has_ended_is_dead(me):
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    assert replace(me, pid=ended.pid).is_known_dead_to(me) is True


def test_a_process_that_was_killed_and_not_waited_for_is_dead(me):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as killed:
        other = replace(me, pid=killed.pid, started=started_at(killed.pid) or "")
        assert other.is_known_dead_to(me) is False
        killed.kill()
        os.waitid(os.P_PID, killed.pid, os.WEXITED | os.WNOWAIT)
        assert other.is_known_dead_to(me) is True


@pytest.mark.skipif(not shutil.which("ps"), reason="no ps here")
def test_where_there_is_no_proc_ps_tells_the_same(me):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        assert _started_by_ps(other.pid) == _started_by_ps(other.pid) != ""
        other.kill()
        os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
        assert _started_by_ps(other.pid) is None
    assert _started_by_ps(other.pid) is None


def test_a_process_that_has_the_number_of_an_older_one_is_not_that_one(me):
    assert replace(me, started="1").is_known_dead_to(me) is True


def test_a_process_whose_start_nobody_noted_is_taken_for_the_living_one(me):
    assert replace(me, started="").is_known_dead_to(me) is False


@pytest.mark.parametrize("elsewhere", [{"host": "elsewhere"}, {"boot": "another boot, or another process namespace"}])
def test_of_a_process_that_cannot_be_seen_nothing_is_known(me, elsewhere):
    assert replace(me, pid=2**22, **elsewhere).is_known_dead_to(me) is None
