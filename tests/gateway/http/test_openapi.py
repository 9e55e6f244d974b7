"""The OpenAPI document: whole, about the doors that there are, and what bodies are held against."""

from ars_gateway.http.app import DOORS
from ars_gateway.http.openapi import document, problems
from tests.gateway.http.asking import asking


async def test_the_document_is_served_to_anybody(running):
    async with asking(running, headers={}) as client:
        answer = await client.get("/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    found = answer.json()
    assert found["openapi"] == "3.1.0"
    assert found["info"]["version"]
    assert found == document()


def test_every_documented_path_is_one_of_the_doors_and_every_door_documented():
    served = {(it.path.replace(":path}", "}"), method.lower()) for it in DOORS for method in it.methods - {"HEAD"}}
    told = {(path, method) for path, methods in document()["paths"].items() for method in methods}
    assert told == served


def test_a_body_is_held_against_what_the_document_refers_to():
    right = {"error": {"code": "X", "message": "m", "retryable": False, "details": {}}}
    assert problems("Error", right) == []
    assert problems("Error", {"error": {**right["error"], "retryable": "no"}}) == [
        "at /error/retryable: must be boolean"
    ]
    assert problems("Error", {}) == ["must have required property 'error'"]
    assert problems("Error", {**right, "x": 1}) == ["at root: unexpected property 'x'"]


def test_a_tool_has_come_to_a_result_or_to_an_error():
    told = {"session_id": "s", "call_id": "c"}
    result, error = {"result": {}}, {"error": {"message": "m"}}
    assert problems("AgentToolResult", told | result) == problems("AgentToolResult", told | error) == []
    for wrong in (told, told | result | error):
        assert problems("AgentToolResult", wrong) == ["must have exactly one of 'result', 'error'"]
