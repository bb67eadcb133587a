"""Exceptions as the journal keeps them: type, message, and the code that a service gave."""

from __future__ import annotations

import asyncio

import boto3
import pytest
from botocore.exceptions import ClientError, NoCredentialsError, PartialCredentialsError

from otel_agent_journal.event import ErrorInfo
from otel_agent_journal.pipeline.failure import MAX_MESSAGE_CHARACTERS, error_info, is_cancel
from tests.untouchable import Noticing


def test_type_and_message() -> None:
    """An exception is kept with its type, with the module unless it is built in, and its message."""
    assert error_info(KeyError("k")) == ErrorInfo(type="KeyError", message="'k'")
    assert error_info(asyncio.QueueFull()) == ErrorInfo(type="asyncio.queues.QueueFull")
    assert len(error_info(ValueError("x" * 10_000)).message) == MAX_MESSAGE_CHARACTERS


def test_messages_of_every_kind() -> None:
    """A message is what a traceback would say; an object that an exception was made with is not asked for its text."""

    class Own(Exception):
        def __str__(self) -> str:
            return f"own words of {self.args[0]}"

    class Broken(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    def message(error: BaseException) -> str:
        return error_info(error).message

    noticing = Noticing()
    assert message(OSError(2, "No such file", "a")) == "[Errno 2] No such file: 'a'"
    assert message(ValueError({"a": [1]})) == "{'a': [1]}"
    assert message(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad")).startswith("'utf-8' codec can't decode")
    assert message(ExceptionGroup("two", [ValueError(1), ValueError(2)])) == "two (2 sub-exceptions)"
    assert message(Own("x")) == "own words of x"
    assert message(Broken("x")) == "x"
    for value in noticing.objects().values():
        assert message(LookupError(value))
        assert message(LookupError("it", value)).startswith("('it', ")
    assert noticing.noticed == []


def test_no_property_is_read() -> None:
    """An exception is not asked for a response that it does not hold itself."""

    class Lazy(Exception):
        @property
        def response(self) -> object:
            raise AssertionError

        def __getattr__(self, name: str) -> object:
            raise AssertionError(name)

    assert error_info(Lazy("x")).message == "x"


def test_client_error() -> None:
    """An AWS client error has code and message as the service gave them, without the words that botocore adds."""
    error = ClientError(
        {"Error": {"Code": "ThrottlingException", "Message": "Rate exceeded"}, "ResponseMetadata": {}}, "InvokeAgent"
    )
    assert error_info(error) == ErrorInfo(
        type="botocore.exceptions.ClientError", message="Rate exceeded", code="ThrottlingException"
    )


@pytest.mark.parametrize(
    ("response", "code"),
    [({}, None), ({"Error": {}}, None), ({"Error": None}, None), ({"Error": {"Code": 404}}, "404")],
)
def test_client_error_that_says_little(response: dict[str, object], code: str | None) -> None:
    """What the service left out is not made up: the message is then botocore's own."""

    class Odd(Exception):
        def __init__(self) -> None:
            super().__init__("it failed")
            self.response = response

    info = error_info(Odd())
    assert (info.code, info.message) == (code, "it failed")


def test_a_response_that_is_no_mapping() -> None:
    """An HTTP client's error, whose response is an object, has type and message alone."""
    error = ValueError("502")
    error.response = object()  # type: ignore[attr-defined]
    assert error_info(error) == ErrorInfo(type="ValueError", message="502")


def test_no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    """A real client without credentials fails with the code NoCredentialsError."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", f"{tmp_path}/none")
    monkeypatch.setenv("AWS_CONFIG_FILE", f"{tmp_path}/none")
    client = boto3.Session().client("bedrock-agent-runtime", region_name="eu-west-1", endpoint_url="http://127.0.0.1:9")
    with pytest.raises(NoCredentialsError) as caught:
        client.invoke_agent(agentId="ABCDE12345", agentAliasId="TSTALIASID", sessionId="s1", inputText="hi")
    assert error_info(caught.value) == ErrorInfo(
        type="botocore.exceptions.NoCredentialsError",
        message="Unable to locate credentials",
        code="NoCredentialsError",
    )
    partial = PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY")
    assert error_info(partial).code == "PartialCredentialsError"


def test_an_error_of_that_name_that_is_not_botocores() -> None:
    """A class of the user's with such a name has no code."""
    own = type("NoCredentialsError", (Exception,), {"__module__": "shop"})
    assert error_info(own("x")) == ErrorInfo(type="shop.NoCredentialsError", message="x")


def test_what_cancels() -> None:
    """Ctrl-C, exit, a closed generator and asyncio's cancellation are no errors; a timeout is one."""
    leaving = (KeyboardInterrupt(), SystemExit(1), GeneratorExit(), asyncio.CancelledError())
    assert all(is_cancel(error) for error in leaving)
    assert not is_cancel(TimeoutError())
