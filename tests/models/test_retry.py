from datetime import UTC, datetime

import pytest

from ars_acp.models.retry import backoff, is_transient, retry_after

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "3600"}, 3600.0),
        ({"retry-after": "Thu, 01 Jan 2026 12:00:30 GMT"}, 30.0),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "7"}, 7.0),
        ({"retry-after": "Thu, 01 Jan 2026 11:59:30 GMT"}, None),
        ({"retry-after": "NaN"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "0"}, None),
        ({"retry-after": "2, 3"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({}, None),
    ],
)
def test_retry_after_counts_only_where_it_makes_sense(headers: dict[str, str], seconds: float | None):
    assert retry_after(headers, NOW) == seconds


def test_backoff_doubles_up_to_its_cap_and_is_shortened_by_up_to_a_quarter():
    for failures, nominal in ((1, 0.5), (2, 1.0), (3, 2.0), (9, 8.0)):
        waits = [backoff(failures, 0.5, 8.0) for _ in range(400)]
        assert nominal * 0.75 <= min(waits) <= max(waits) <= nominal


def test_a_hundred_sessions_do_not_come_back_together():
    waits = [backoff(1, 0.5, 8.0) for _ in range(100)]
    assert (max(waits) - min(waits)) / min(waits) >= 0.25


def test_only_what_may_pass_is_transient():
    assert [
        status for status in (400, 401, 403, 404, 408, 409, 422, 429, 500, 502, 503, 529) if is_transient(status)
    ] == [
        408,
        409,
        429,
        500,
        502,
        503,
        529,
    ]
