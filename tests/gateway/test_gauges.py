"""The numbers of the last ten minutes, and what processes have in memory."""

import os
import subprocess
import sys

from ars_gateway.observation.counts import FIRST_WORDS, Histogram
from ars_gateway.observation.gauges import KEPT, Gauges, rss, rss_of_groups

WAITS = "import sys; sys.stdout.write('up\\n'); sys.stdout.flush(); sys.stdin.read()"


def test_an_interval_has_its_worst_and_its_mean_and_none_where_nothing_was():
    words = Histogram(FIRST_WORDS)
    gauges = Gauges(lambda: 1.0, words)
    for seconds in (0.002, 0.005, 0.001):
        gauges.noted("deliverMs", seconds)
    words.add(0.1)
    words.add(0.3)
    gauges.sample()
    gauges.sample()
    assert list(gauges.series["deliverMs"]) == [5.0, None]
    assert list(gauges.series["firstTokenMs"]) == [200.0, None]
    assert len(gauges.series["rssBytes"]) == 2


def test_ten_minutes_are_kept():
    gauges = Gauges(lambda: 1.0, Histogram(FIRST_WORDS))
    for _ in range(KEPT + 5):
        gauges.sample()
    assert {len(it) for it in gauges.series.values()} == {KEPT}


def test_memory_is_told_of_the_group_that_a_process_leads_and_of_nothing_that_is_gone():
    command = [sys.executable, "-c", WAITS]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert rss_of_groups([child.pid])[child.pid] == rss(child.pid)
        assert rss_of_groups([os.getpid()]) == {}
        assert child.stdin is not None
        child.stdin.close()
        child.wait(10)
    assert rss_of_groups([child.pid]) == {}
    assert rss(child.pid) is None
