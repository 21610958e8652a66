"""The official Python SDK of OpenAI, of whichever generation is installed: uses everything, prints what it saw as one JSON object.

Arguments: the hub's URL, a key, a key that is let in slowly, a key whose money is spent, and the models to ask, one after the other.
It stands alone: it is run by the interpreter of each generation's own environment.
"""

import json
import sys
from typing import Any

import openai
from pydantic import BaseModel, ConfigDict

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
NAMED = {"name": "get_weather", "description": "The weather", "parameters": WEATHER, "strict": True}
CHAT_TOOLS: Any = [{"type": "function", "function": NAMED}]
RESPONSES_TOOLS: Any = [{"type": "function", **NAMED}]


class Person(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    age: int


def user(text: str) -> Any:
    return [{"role": "user", "content": text}]


def weather(arguments: str) -> str:
    given = json.loads(arguments)
    return f"{given['city']} {given['days']}"


def usage(found: Any) -> Any:
    return found and [getattr(found, name, None) for name in ("prompt_tokens", "completion_tokens", "input_tokens", "output_tokens")]


def chat(client: openai.OpenAI, model: str) -> Any:
    whole = client.chat.completions.create(model=model, messages=user("Say hello."), max_completion_tokens=64)
    options: Any = {"include_usage": True}
    chunks = list(client.chat.completions.create(model=model, messages=user("Say hello."), stream=True, stream_options=options))
    choices = [choice for chunk in chunks for choice in chunk.choices]
    bare = list(client.chat.completions.create(model=model, messages=user("Say hello."), stream=True))
    cut = client.chat.completions.create(model=model, messages=user("1, 2,"), max_completion_tokens=10)
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
    looked = client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": [{"type": "text", "text": "What is it?"}, image]}],  # type: ignore[list-item]
    )
    refused = client.chat.completions.create(model=model, messages=user("Do harm."))
    return {
        "whole": [whole.choices[0].message.content, whole.choices[0].finish_reason, usage(whole.usage)],
        "stream": ["".join(one.delta.content or "" for one in choices), choices[-1].finish_reason, usage(chunks[-1].usage)],
        "usage_unasked": [chunk.usage for chunk in bare if chunk.usage],
        "cut": [cut.choices[0].message.content, cut.choices[0].finish_reason],
        "image": looked.choices[0].message.content,
        "refusal": refused.choices[0].message.refusal,
    }


def chat_tools(client: openai.OpenAI, model: str, asked: str, *, streamed: bool) -> Any:
    messages, seen = user(asked), []
    while True:
        if streamed:
            with client.chat.completions.stream(model=model, messages=messages, tools=CHAT_TOOLS) as stream:
                said = stream.get_final_completion().choices[0]
        else:
            said = client.chat.completions.create(model=model, messages=messages, tools=CHAT_TOOLS).choices[0]
        seen.append(said.finish_reason)
        if not said.message.tool_calls:
            return [*seen, said.message.content]
        calls = [one.model_dump(include={"id": True, "type": True, "function": {"name", "arguments"}}) for one in said.message.tool_calls]
        messages.append({"role": "assistant", "content": said.message.content, "tool_calls": calls})
        for call in calls:
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": weather(call["function"]["arguments"])})


def chat_parsed(client: openai.OpenAI, model: str) -> Any:
    whole = client.chat.completions.parse(model=model, messages=user("Ada, 36."), response_format=Person)
    with client.chat.completions.stream(model=model, messages=user("Ada, 36."), response_format=Person) as stream:
        streamed = stream.get_final_completion()
    found = [one.choices[0].message.parsed for one in (whole, streamed)]
    return [isinstance(one, Person) and one.model_dump() for one in found]


def responses(client: openai.OpenAI, model: str) -> Any:
    whole = client.responses.create(model=model, input="Say hello.", instructions="You are terse.")
    with client.responses.stream(model=model, input="Say hello.") as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    parsed = client.responses.parse(model=model, input="Ada, 36.", text_format=Person).output_parsed
    thought = client.responses.create(model=model, input="Is 91 prime?", reasoning={"effort": "medium", "summary": "auto"})
    refused = client.responses.create(model=model, input="Do harm.")
    parts: Any = [{"type": "input_text", "text": "What is it?"}]
    parts.append({"type": "input_image", "detail": "auto", "image_url": f"data:image/png;base64,{PIXEL}"})
    cut = client.responses.create(model=model, input="1, 2,", max_output_tokens=16)
    return {
        "whole": [whole.output_text, whole.status, usage(whole.usage)],
        "stream": [final.output_text, final.status, usage(final.usage)],
        "events": [kinds[0], kinds.count("response.output_text.delta") > 1, kinds[-1]],
        "parsed": parsed and parsed.model_dump(),
        "thought": [[part.text for part in item.summary] for item in thought.output if item.type == "reasoning"],
        "refusal": [part.refusal for item in refused.output if item.type == "message" for part in item.content if part.type == "refusal"],
        "image": client.responses.create(model=model, input=[{"role": "user", "content": parts}]).output_text,
        "cut": [cut.status, cut.incomplete_details and cut.incomplete_details.reason],
    }


def responses_tools(client: openai.OpenAI, model: str, asked: str) -> Any:
    said: list[Any] = user(asked)
    while True:
        reply = client.responses.create(model=model, input=said, tools=RESPONSES_TOOLS)
        calls = [item for item in reply.output if item.type == "function_call"]
        if not calls:
            return reply.output_text
        said += [item.model_dump(exclude_none=True) for item in reply.output]
        said += [{"type": "function_call_output", "call_id": call.call_id, "output": weather(call.arguments)} for call in calls]


def others(client: openai.OpenAI, model: str) -> Any:
    return {
        "base64": client.embeddings.create(model=model, input=["x", "y"]).data[1].embedding,
        "float": client.embeddings.create(model=model, input="x", encoding_format="float").data[0].embedding,
        "moderation": client.moderations.create(model=model, input="x").results[0].flagged,
        "completion": client.completions.create(model=model, prompt="x").choices[0].text,
        "retrieved": client.models.retrieve(model).id,
    }


def raised(ask: Any) -> Any:
    try:
        return ["no error", ask()]
    except openai.APIStatusError as error:
        return [type(error).__name__, error.status_code, error.code, error.request_id == error.response.headers["x-request-id"]]
    except openai.APIError as error:
        return [type(error).__name__]


def errors(client: openai.OpenAI, url: str, model: str) -> Any:
    found = {}
    for status in (400, 404, 413, 422, 429, 500, 529):
        found[str(status)] = raised(lambda status=status: client.chat.completions.create(model=model, messages=user(f"Fail {status}.")))
    found["missing"] = raised(lambda: client.chat.completions.create(model="nothing", messages=user("x")))
    found["broken"] = raised(lambda: client.chat.completions.create(model=1, messages=user("x")))  # type: ignore[call-overload]
    with openai.OpenAI(base_url=url + "/v1", api_key="no-key-of-anyone", max_retries=0) as stranger:
        found["stranger"] = raised(lambda: stranger.responses.create(model=model, input="x"))
        found["stranger_stream"] = raised(lambda: stranger.chat.completions.create(model=model, messages=user("x"), stream=True))
    return found


def patience(url: str, slow: str, spent: str, model: str) -> Any:
    """How often it asks again: where waiting helps until it is let in, where it is pointless not once."""
    with openai.OpenAI(base_url=url + "/v1", api_key=slow, max_retries=5) as client:
        tries = [client.chat.completions.with_raw_response.create(model=model, messages=user("Say hello.")).retries_taken for _ in range(2)]
    with openai.OpenAI(base_url=url + "/v1", api_key=spent, max_retries=5) as client:
        client.chat.completions.create(model=model, messages=user("Say hello."))
        return {"waited": sum(tries) > 0, "spent": raised(lambda: client.chat.completions.create(model=model, messages=user("Say hello.")))}


def main(url: str, key: str, slow: str, spent: str, *models: str) -> None:
    seen: dict[str, Any] = {"version": openai.__version__}
    with openai.OpenAI(base_url=url + "/v1", api_key=key, max_retries=0, timeout=30) as client:
        for model in models:
            seen[model] = {
                "chat": chat(client, model),
                "tools": chat_tools(client, model, "Weather in Bern?", streamed=False),
                "parallel": chat_tools(client, model, "Weather in Bern and Rome?", streamed=False),
                "parallel_streamed": chat_tools(client, model, "Weather in Bern and Rome?", streamed=True),
                "parsed": chat_parsed(client, model),
                "responses": responses(client, model),
                "responses_tools": responses_tools(client, model, "Weather in Bern?"),
                "responses_parallel": responses_tools(client, model, "Weather in Bern and Rome?"),
                "errors": errors(client, url, model),
            }
        seen["others"] = others(client, models[0])
        seen["models"] = sorted(model.id for model in client.models.list())
        raw = client.chat.completions.with_raw_response.create(model=models[0], messages=user("Say hello."))
        named = raw.parse()._request_id == raw.headers["x-request-id"]
        seen["raw"] = [named, bool(raw.headers["hub-receipt"]), raw.headers["content-type"]]
        brief = client.with_options(timeout=0.2)
        seen["timeout"] = raised(lambda: brief.chat.completions.create(model=models[0], messages=user("Wait.")))
    seen["patience"] = patience(url, slow, spent, models[0])
    print(json.dumps(seen))


if __name__ == "__main__":
    main(*sys.argv[1:])
