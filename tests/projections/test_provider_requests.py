"""A request in the JSON of OpenAI's and of Anthropic's API, whatever framework made it.

The shapes are those of the providers' references (Chat Completions, Messages); where the SDKs are installed, their own
types check them, too.
"""

from __future__ import annotations

import json
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_agent_journal.projections.anthropic_request import MAX_TOKENS, anthropic_request
from otel_agent_journal.projections.openai_request import openai_request
from otel_agent_journal.projections.prompt import messages_in
from otel_agent_journal.projections.provider_parts import Choice, choice_of, medium_of, parameters
from tests.projections.provider_shapes import anthropic_faults, openai_faults

SCHEMA: Final = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
CALL: Final = {"id": "c1", "name": "weather", "arguments": {"city": "Rome"}}
PICTURE: Final = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
MESSAGES: Final[list[dict[str, Any]]] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "Where is this?"}, PICTURE], "name": "ann"},
    {"role": "assistant", "content": "", "tool_calls": [CALL, {**CALL, "id": "c2", "arguments": '{"city": '}]},
    {"role": "tool", "content": "21 degrees", "tool_call_id": "c1"},
    {"role": "tool", "content": [{"type": "text", "text": "a map"}, PICTURE], "tool_call_id": "c2"},
    {"role": "assistant", "content": "Rome."},
    {"role": "user", "content": "Sure?"},
]


def a_prompt(messages: Any = MESSAGES, tools: Any = (), **params: Any) -> dict[str, Any]:
    """Return a request as `show --prompt` has it."""
    offered = [{"name": "weather", "description": "Look.", "parameters": SCHEMA}] if tools == () else tools
    return {"model": "m", "messages": messages, "tools": offered, "params": params}


def test_openai() -> None:
    """Calls are functions with their arguments as text, results messages of their own, pictures of tools a user's."""
    made = openai_request(a_prompt(max_tokens=100, temperature=0, tool_choice="any", stop=["x"]))
    assert made.body == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "Where is this?"}, PICTURE], "name": "ann"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Rome"}'}},
                    {"id": "c2", "type": "function", "function": {"name": "weather", "arguments": '{"city": '}},
                ],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "21 degrees"},
            {"role": "tool", "tool_call_id": "c2", "content": "a map"},
            {"role": "user", "content": [PICTURE]},
            {"role": "assistant", "content": "Rome."},
            {"role": "user", "content": "Sure?"},
        ],
        "tools": [{"type": "function", "function": {"name": "weather", "description": "Look.", "parameters": SCHEMA}}],
        "max_completion_tokens": 100,
        "temperature": 0,
        "stop": ["x"],
        "tool_choice": "required",
    }
    assert made.notes == ()
    assert openai_faults(made.body) == []


def test_anthropic() -> None:
    """The system prompt is apart, results stand first in a user's message, turns alternate."""
    made = anthropic_request(a_prompt(maxTokens=100, temperature=0.5, stop="x", tool_choice={"type": "any"}))
    source = {"type": "base64", "media_type": "image/png", "data": "AAAA"}
    picture = {"type": "image", "source": source}
    assert made.body == {
        "model": "m",
        "max_tokens": 100,
        "system": "Be brief.",
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Where is this?"}, picture]},
            {
                "role": "assistant",
                "content": [
                    {"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": "Rome"}},
                    {"type": "tool_use", "id": "c2", "name": "weather", "input": {"arguments": '{"city": '}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": "21 degrees"}]},
                    {
                        "type": "tool_result",
                        "tool_use_id": "c2",
                        "content": [{"type": "text", "text": "a map"}, picture],
                    },
                ],
            },
            {"role": "assistant", "content": [{"type": "text", "text": "Rome."}]},
            {"role": "user", "content": [{"type": "text", "text": "Sure?"}]},
        ],
        "tools": [{"name": "weather", "description": "Look.", "input_schema": SCHEMA}],
        "temperature": 0.5,
        "stop_sequences": ["x"],
        "tool_choice": {"type": "any"},
    }
    assert made.notes == ("the arguments of weather are no object, and stand in one here",)
    assert anthropic_faults(made.body) == []


def test_what_an_api_does_not_have_is_said() -> None:
    """Parameters of another API, thoughts without a signature, sounds: left out, and not silently."""
    sound = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}}
    film = {"type": "video", "mime_type": "video/mp4", "base64": "AAAA"}
    thought = {"type": "thinking", "thinking": "hm"}
    messages = [
        {"role": "user", "content": [sound, film]},
        {"role": "assistant", "content": [thought, PICTURE, {"type": "text", "text": "ok"}], "name": "bob"},
    ]
    made = openai_request(a_prompt(messages, [], top_k=3, guardrail="g", _type="chat"))
    assert made.body["messages"] == [
        {"role": "user", "content": [sound]},
        {"role": "assistant", "content": "ok", "name": "bob"},
    ]
    assert made.notes == (
        "video/mp4 is left out: OpenAI's API takes none",
        "pictures of the model's own are left out: OpenAI's API takes none of an assistant",
        "OpenAI's API has no such parameters: top_k, guardrail",
    )
    theirs = anthropic_request(a_prompt(messages, [], seed=3))
    assert [message["role"] for message in theirs.body["messages"]] == ["assistant"]
    assert theirs.body["max_tokens"] == MAX_TOKENS
    assert theirs.notes == (
        "audio/mp3 is left out: Anthropic's API takes none",
        "video/mp4 is left out: Anthropic's API takes none",
        "a thought without a signature is left out: Anthropic's API takes none",
        f"max_tokens is not in the request, and {MAX_TOKENS} was put: Anthropic's API wants one",
        "Anthropic's API has no such parameters: seed",
    )


def test_thoughts_that_were_signed_are_shown_again() -> None:
    """Anthropic's own, encrypted ones, and Bedrock's."""
    signed = {"type": "thinking", "thinking": "hm", "signature": "s"}
    hidden = {"type": "redacted_thinking", "data": "d"}
    of_bedrock = {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "s"}}}
    unsigned = {"reasoningContent": {"redactedContent": "x"}}
    messages = [{"role": "assistant", "content": [signed, hidden, of_bedrock, unsigned]}]
    made = anthropic_request(a_prompt(messages, max_tokens=1))
    assert made.body["messages"] == [{"role": "assistant", "content": [signed, hidden, signed]}]
    assert len(made.notes) == 1


def test_documents() -> None:
    """Files of both kinds, by their data or by an address, with their names."""
    file = {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"}}
    linked = {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}}
    paper = {"document": {"format": "pdf", "name": "paper", "source": {"bytes": "AAAA"}}}
    messages = [{"role": "user", "content": [file, linked, paper, {"odd": 1}]}]
    made = openai_request(a_prompt(messages, []))
    assert made.body["messages"][0]["content"] == [
        file,
        {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
        {
            "type": "file",
            "file": {"filename": "paper", "file_data": "data:application/pdf;base64,AAAA"},
        },
        {"type": "text", "text": '{"odd":1}'},
    ]
    theirs = anthropic_request(a_prompt(messages, [], max_tokens=1)).body["messages"][0]["content"]
    source = {"type": "base64", "media_type": "application/pdf", "data": "AAAA"}
    assert theirs == [
        {"type": "document", "source": source, "title": "a.pdf"},
        linked,
        {"type": "document", "source": source, "title": "paper"},
        {"type": "text", "text": '{"odd":1}'},
    ]


def test_calls_and_results_without_ids() -> None:
    """They are given some, by which each result is its call's, in their order."""
    calls = [{**CALL, "id": None}, {**CALL, "id": None, "arguments": None}]
    messages = [
        {"role": "assistant", "content": "", "tool_calls": calls},
        {"role": "tool", "content": "one"},
        {"role": "tool", "content": ""},
        {"role": "tool", "content": "nobody's"},
    ]
    made = openai_request(a_prompt(messages)).body["messages"]
    assert [call["id"] for call in made[0]["tool_calls"]] == ["call_1", "call_2"]
    assert made[0]["tool_calls"][1]["function"]["arguments"] == "{}"
    assert [message["tool_call_id"] for message in made[1:]] == ["call_1", "call_2", "call_3"]
    theirs = anthropic_request(a_prompt(messages, max_tokens=1)).body["messages"]
    assert theirs[0]["content"][1]["input"] == {}
    assert theirs[1]["content"][1] == {"type": "tool_result", "tool_use_id": "call_2"}


def test_a_picture_of_the_last_result() -> None:
    """It is behind it, with nothing after it."""
    messages = [{"role": "tool", "content": [PICTURE], "tool_call_id": "c1"}]
    assert openai_request(a_prompt(messages, [])).body["messages"] == [
        {"role": "tool", "tool_call_id": "c1", "content": ""},
        {"role": "user", "content": [PICTURE]},
    ]
    film = {"type": "video", "mime_type": "video/mp4", "base64": "AAAA"}
    messages = [{"role": "tool", "content": [film], "tool_call_id": "c1"}]
    assert len(openai_request(a_prompt(messages, [])).body["messages"]) == 1


def test_pictures_of_the_system() -> None:
    """Neither API takes one: the words alone are left."""
    messages = [{"role": "system", "content": [{"type": "text", "text": "Like this:"}, PICTURE]}]
    made = openai_request(a_prompt(messages, []))
    assert made.body["messages"] == [{"role": "system", "content": [{"type": "text", "text": "Like this:"}]}]
    assert made.notes == ("image/png is left out: OpenAI's API takes none of the system",)
    assert anthropic_request(a_prompt(messages, [])).body["system"] == "Like this:"


def test_several_system_prompts_and_roles_of_others() -> None:
    """All that is of the system is at the head of Anthropic's; a role that neither has is a user's."""
    messages = [
        {"role": "system", "content": "One."},
        {"role": "critic", "content": "Well."},
        {"role": "system", "content": "Two."},
        {"role": "user", "content": "   "},
    ]
    made = anthropic_request(a_prompt(messages, [], max_tokens=1))
    assert made.body["system"] == [{"type": "text", "text": "One."}, {"type": "text", "text": "Two."}]
    assert made.body["messages"] == [{"role": "user", "content": [{"type": "text", "text": "Well."}]}]
    assert openai_request(a_prompt(messages, [])).body["messages"][1] == {"role": "user", "content": "Well."}


def test_tools_without_a_schema() -> None:
    """They take an object of which nothing is known."""
    tools = [{"name": "look", "description": None, "parameters": None}]
    empty = {"type": "object", "properties": {}}
    assert openai_request(a_prompt(tools=tools)).body["tools"] == [
        {"type": "function", "function": {"name": "look", "parameters": empty}}
    ]
    assert anthropic_request(a_prompt(tools=tools)).body["tools"] == [{"name": "look", "input_schema": empty}]


@pytest.mark.parametrize(
    ("value", "choice"),
    [
        (None, None),
        (3, None),
        (True, Choice("any")),
        ("auto", Choice("auto")),
        ("required", Choice("any")),
        ("weather", Choice("tool", "weather")),
        ({"type": "none"}, Choice("none")),
        ({"auto": {}}, Choice("auto")),
        ({"tool": {"name": "weather"}}, Choice("tool", "weather")),
        ({"type": "function", "function": {"name": "weather"}}, Choice("tool", "weather")),
        ({"type": "tool", "name": "weather"}, Choice("tool", "weather")),
        ({"other": 1}, None),
    ],
)
def test_which_tool_is_to_be_called(value: Any, choice: Choice | None) -> None:
    """Read in every form, and written in each provider's."""
    assert choice_of(value) == choice
    ours, theirs = openai_request(a_prompt(tool_choice=value)).body, anthropic_request(a_prompt(tool_choice=value)).body
    assert openai_faults(ours) == []
    assert anthropic_faults(theirs) == []
    assert ("tool_choice" in ours) == ("tool_choice" in theirs) == (choice is not None)


def test_one_tool_at_a_time() -> None:
    """What OpenAI says of parallel calls Anthropic says of the choice."""
    made = anthropic_request(a_prompt(parallel_tool_calls=False))
    assert made.body["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}
    made = anthropic_request(a_prompt(parallel_tool_calls=False, tool_choice="none"))
    assert made.body["tool_choice"] == {"type": "none"}
    assert openai_request(a_prompt(parallel_tool_calls=False)).body["parallel_tool_calls"] is False


def test_parameters_have_one_name() -> None:
    """Bedrock's stand in an object of their own; what is not set says nothing."""
    found, others = parameters({"inferenceConfig": {"maxTokens": 5, "topP": 0.1}, "top_p": 0.2, "stop": None, "odd": 1})
    assert found == {"max_tokens": 5, "top_p": 0.2}
    assert others == ["odd"]


@pytest.mark.parametrize(
    ("block", "found"),
    [
        ("text", None),
        ({"type": "text", "text": "a"}, None),
        ({"type": "image"}, None),
        ({"type": "image_url", "image_url": "https://x/y"}, ("image/png", None, "https://x/y", None)),
        ({"type": "image", "image": {"url": "data:;base64,AA"}}, ("image/*", "AA", None, None)),
        ({"inlineData": {"mimeType": "image/gif", "data": "AA"}}, ("image/gif", "AA", None, None)),
        ({"type": "blob", "mime_type": "audio/wav", "content": "AA"}, ("audio/wav", "AA", None, None)),
        ({"fileData": {"fileUri": "gs://a/b"}}, ("application/octet-stream", None, "gs://a/b", None)),
        ({"type": "input_image", "image_url": "data:image/png;base64,AA"}, ("image/png", "AA", None, None)),
    ],
)
def test_media(block: Any, found: Any) -> None:
    """Types, data and addresses in the shapes of providers."""
    medium = medium_of(block)
    assert (None if medium is None else tuple(medium)) == found


TEXTS = st.text(max_size=8)
BLOCKS = st.one_of(
    TEXTS,
    st.just(PICTURE),
    st.builds(lambda text: {"type": "text", "text": text}, TEXTS),
    st.builds(lambda text: {"type": "thinking", "thinking": text}, TEXTS),
    st.builds(lambda text: {"odd": text}, TEXTS),
)
CALLS = st.lists(
    st.fixed_dictionaries({"id": st.sampled_from([None, "a", "b"]), "name": TEXTS, "args": st.none() | TEXTS}),
    max_size=2,
)
SAID = st.lists(
    st.one_of(
        st.fixed_dictionaries(
            {"role": st.sampled_from(["system", "user", "odd"]), "content": TEXTS | st.lists(BLOCKS)}
        ),
        st.fixed_dictionaries({"role": st.just("assistant"), "content": TEXTS | st.lists(BLOCKS), "tool_calls": CALLS}),
        st.fixed_dictionaries({"role": st.just("tool"), "content": TEXTS | st.lists(BLOCKS), "tool_call_id": TEXTS}),
    ),
    max_size=6,
)


@given(SAID)
def test_whatever_was_said_is_a_request(said: list[Any]) -> None:
    """The shape is right, and it is JSON."""
    prompt = a_prompt(messages_in(said))
    ours, theirs = openai_request(prompt).body, anthropic_request(prompt).body
    assert openai_faults(ours) == []
    assert anthropic_faults(theirs) == []
    assert json.loads(json.dumps([ours, theirs])) == [ours, theirs]
