import pytest

from ars_acp.models.faults import MESSAGE_LIMIT, Faults

KEY = "kk-not-of-the-usual-shape"
FAULTS = Faults((KEY, ""))


@pytest.mark.parametrize(
    "said",
    [
        f"Incorrect API key provided: {KEY}",
        f"Authorization: Bearer {KEY}",
        "Incorrect API key provided: sk-proj-abcdefghijklmnop",
        'header "Authorization: dXNlcjpodW50ZXIyMg=="',
        "cannot connect to http://user:hunter22@proxy.example:3128/",
    ],
)
def test_no_secret_stays_in_a_message(said: str):
    message = FAULTS.status(401, {}, {"error": {"message": said, "code": said}}).error
    for secret in (KEY, "sk-proj-abcdefghijklmnop", "dXNlcjpodW50ZXIyMg", "hunter22"):
        assert secret not in message.message
        assert secret not in str(message.details)


def test_a_secret_across_the_cut_is_taken_out_before_cutting():
    said = "x" * (MESSAGE_LIMIT - 40) + KEY * 3
    assert KEY[:6] not in FAULTS.status(400, {}, {"error": {"message": said}}).error.message


def test_a_message_is_one_short_printable_line():
    message = FAULTS.status(500, {}, {"error": {"message": "a\r\nb\t\x1b[31mc" + "x" * 9999}}).error.message
    assert message.isprintable()
    assert len(message) == MESSAGE_LIMIT
    assert "a b ?[31mc" in message


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "it broke", "type": "t"}},
        {"error": "it broke"},
        {"message": "it broke"},
        {"detail": "it broke"},
        [{"error": {"message": "it broke"}}],
        {"error": {"error": {"message": "it broke"}}},
        "it broke",
    ],
)
def test_the_message_is_found_in_every_shape_of_body(body: object):
    assert FAULTS.status(500, {}, body).error.message == "the model's endpoint answered HTTP 500: it broke"


@pytest.mark.parametrize("body", [None, "", {}, [], 7, {"error": None}])
def test_a_body_that_says_nothing_still_gives_a_message(body: object):
    assert FAULTS.status(502, {}, body).error.message == "the model's endpoint answered HTTP 502"


@pytest.mark.parametrize(
    ("status", "body", "retryable"),
    [
        (429, {}, True),
        (500, {}, True),
        (529, {}, True),
        (408, {}, True),
        (400, {}, False),
        (401, {}, False),
        (403, {}, False),
        (404, {}, False),
        (422, {}, False),
        (301, {}, False),
        (429, {"error": {"code": "insufficient_quota", "message": "pay"}}, False),
    ],
)
def test_what_may_pass_is_retryable(status: int, body: object, retryable: bool):
    fault = FAULTS.status(status, {"retry-after": "7"}, body)
    assert (fault.error.retryable, fault.again, fault.error.retry_after_ms) == (
        retryable,
        retryable,
        7000 if retryable else None,
    )


@pytest.mark.parametrize(
    "error",
    [
        {"code": "context_length_exceeded", "message": "too much"},
        {"type": "exceed_context_size_error", "message": "too much"},
        {"message": "This model's maximum context length is 8192 tokens"},
        {"message": "prompt is too long: 210000 tokens > 200000 maximum"},
    ],
)
def test_a_context_that_is_too_long_is_told_apart(error: dict[str, str]):
    for fault in (FAULTS.status(400, {}, {"error": error}), FAULTS.in_stream({"error": error}, 0)):
        assert fault.error.code == "LLM_ERROR"
        assert fault.error.details["reason"] == "context_length"
        assert (fault.error.retryable, fault.again) == (False, False)


@pytest.mark.parametrize(
    ("error", "code", "again"),
    [
        ({"message": "overloaded", "code": 529}, "LLM_STREAM_INTERRUPTED", True),
        ({"message": "oh", "type": "server_error"}, "LLM_STREAM_INTERRUPTED", True),
        ({"message": "oh"}, "LLM_STREAM_INTERRUPTED", True),
        ({"message": "no", "code": 400}, "LLM_ERROR", False),
        ({"message": "no", "type": "invalid_request_error"}, "LLM_ERROR", False),
        ({"message": "slow", "type": "invalid_request_error", "code": "429"}, "LLM_STREAM_INTERRUPTED", True),
    ],
)
def test_an_error_inside_a_stream_is_an_interruption_unless_it_will_not_pass(
    error: dict[str, object], code: str, again: bool
):
    fault = FAULTS.in_stream({"error": error}, 5)
    assert (fault.error.code, fault.again, fault.error.retryable) == (code, again, again)
    assert fault.error.details["partial_chars"] == 5
