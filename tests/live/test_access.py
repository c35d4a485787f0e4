"""Who is answered: this machine by its own names, and who has the token."""

from typing import Any

import pytest
from starlette.requests import Request

from leyden.live.access import address_of, is_loopback, local_names, refusal_of


def request(path: str = "/predict", query: str = "", **headers: str) -> Request:
    lines = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope: dict[str, Any] = {"type": "http", "path": path, "query_string": query.encode(), "headers": lines}
    return Request(scope)


@pytest.mark.parametrize(
    ("host", "is_ours"),
    [("localhost", True), ("127.0.0.1", True), ("::1", True), ("0.0.0.0", False), ("192.168.1.2", False), ("a", False)],
)
def test_loopback_is_what_no_other_machine_reaches(host: str, is_ours: bool) -> None:
    assert is_loopback(host) == is_ours


def test_only_its_own_names_are_answered() -> None:
    for name in ("localhost", "127.0.0.1", "[::1]"):
        assert refusal_of(request(host=f"{name}:8001"), None, local_names(8001)) is None
    for name in ("localhost:80", "evil.example:8001", "[", ""):
        assert "is served at localhost:8001" in str(refusal_of(request(host=name), None, local_names(8001)))


def test_a_token_comes_as_a_cookie_a_bearer_or_in_the_pages_address() -> None:
    has = [
        request(host="a:1", cookie="leyden_1=right"),
        request(host="a:1", authorization="Bearer right"),
        request("/", "token=right", host="a:1"),
    ]
    has_not = [
        request(host="a:1"), request(host="a:2", cookie="leyden_1=right"), request(host="a:1", authorization="right"),
        request(host="[", authorization="Basic right"), request("/predict", "token=right", host="a:1"),
        request("/", "token=wrong", host="a:1", authorization="Bearer right"),
    ]  # fmt: skip
    assert [refusal_of(one, "right", None) for one in has] == [None] * 3
    assert all("needs its token" in str(refusal_of(one, "right", None)) for one in has_not)


def test_the_address_is_one_to_open() -> None:
    assert address_of("127.0.0.1", 8001, None) == "http://127.0.0.1:8001/"
    assert address_of("::1", 8001, "t") == "http://[::1]:8001/?token=t"
