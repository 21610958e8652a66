"""The official Python SDK of Anthropic, of whichever generation is installed: uses everything, prints what it saw as one JSON object.

Arguments: the hub's URL, a key, a key that is let in slowly, a key whose money is spent, and the models to ask, one after the other.
It stands alone: it is run by the interpreter of each generation's own environment.
"""

import json
import sys
from typing import Any

import anthropic
from pydantic import BaseModel

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
TOOLS: Any = [{"name": "get_weather", "description": "The weather", "input_schema": WEATHER}]
THINK: Any = {"type": "enabled", "budget_tokens": 2000}


class Person(BaseModel):
    name: str
    age: int


def user(text: Any) -> Any:
    return [{"role": "user", "content": text}]


def told(message: Any) -> Any:
    return ["".join(block.text for block in message.content if block.type == "text"), message.stop_reason]


def messages(client: anthropic.Anthropic, model: str) -> Any:
    def ask(text: Any, **more: Any) -> Any:
        return client.messages.create(model=model, messages=user(text), max_tokens=4096, **more)

    whole = ask("Say hello.", system="You are terse.")
    raw = list(ask("Say hello.", stream=True))
    with client.messages.stream(model=model, messages=user("Say hello."), max_tokens=64) as stream:
        texts = list(stream.text_stream)
        final = stream.get_final_message()
    thought = ask("Is 91 prime?", thinking=THINK)
    with client.messages.stream(model=model, messages=user("Is 91 prime?"), max_tokens=4096, thinking=THINK) as stream:
        thinking = stream.get_final_message()
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
    counted = client.messages.count_tokens(model=model, messages=user("Say hello.")) if model == "wise" else None
    return {
        "whole": [*told(whole), whole.usage.input_tokens, whole.usage.output_tokens],
        "events": sorted({event.type for event in raw}),
        "order": [raw[0].type, raw[-2].type, raw[-1].type],
        "stream": ["".join(texts), *told(final), final.usage.output_tokens],
        "thought": [[block.thinking for block in one.content if block.type == "thinking"] for one in (thought, thinking)],
        "signed": [all(block.signature for block in one.content if block.type == "thinking") for one in (thought, thinking)],
        "refusal": ask("Do harm.").stop_reason,
        "cut": told(ask("1, 2,")),
        "image": told(ask([{"type": "text", "text": "What is it?"}, image]))[0],
        "counted": counted and counted.input_tokens,
    }


def talk(client: anthropic.Anthropic, model: str, asked: str, *, streamed: bool) -> Any:
    said, seen = user(asked), []
    while True:
        more: Any = {"model": model, "messages": said, "max_tokens": 1024, "tools": TOOLS}
        if streamed:
            with client.messages.stream(**more) as stream:
                reply = stream.get_final_message()
        else:
            reply = client.messages.create(**more)
        seen.append(reply.stop_reason)
        uses = [block for block in reply.content if block.type == "tool_use"]
        if not uses:
            return [*seen, told(reply)[0]]
        results = [{"type": "tool_result", "tool_use_id": use.id, "content": f"{use.input['city']} {use.input['days']}"} for use in uses]
        said += [{"role": "assistant", "content": reply.content}, *user(results)]


def parsed(client: anthropic.Anthropic, model: str) -> Any:
    whole = client.messages.parse(model=model, messages=user("Ada, 36."), max_tokens=1024, output_format=Person)
    with client.messages.stream(model=model, messages=user("Ada, 36."), max_tokens=1024, output_format=Person) as stream:
        streamed = stream.get_final_message()
    found = [one.parsed_output for one in (whole, streamed)]
    return [isinstance(one, Person) and one.model_dump() for one in found]


def runner(client: anthropic.Anthropic, model: str) -> Any:
    """The SDK's own loop over tools, which asks the beta of the API."""

    @anthropic.beta_tool(name="get_weather", description="The weather")
    def get_weather(city: str, days: int) -> str:
        return f"{city} {days}"

    run = client.beta.messages.tool_runner(model=model, messages=user("Weather in Bern and Rome?"), max_tokens=1024, tools=[get_weather])
    return told(run.until_done())


def raised(ask: Any) -> Any:
    try:
        return ["no error", ask()]
    except anthropic.APIStatusError as error:
        body: Any = error.body
        named = error.request_id == error.response.headers["request-id"]
        return [type(error).__name__, error.status_code, body["error"]["type"], named]
    except anthropic.APIError as error:
        return [type(error).__name__]


def errors(client: anthropic.Anthropic, url: str, model: str) -> Any:
    def ask(by: anthropic.Anthropic, text: Any = "x", **more: Any) -> Any:
        return raised(lambda: by.messages.create(**{"model": model, "messages": user(text), "max_tokens": 9, **more}))

    found = {str(status): ask(client, f"Fail {status}.") for status in (400, 404, 413, 422, 429, 500, 529)}
    found["missing"] = ask(client, model="nothing")
    found["broken"] = ask(client, model=1)
    with anthropic.Anthropic(base_url=url, api_key="no-key-of-anyone", max_retries=0) as stranger:
        found["stranger"] = ask(stranger)
        found["stranger_stream"] = ask(stranger, stream=True)
    return found


def patience(url: str, slow: str, spent: str, model: str) -> Any:
    """How often it asks again: where waiting helps until it is let in, where it is pointless not once."""
    ask: Any = {"model": model, "messages": user("Say hello."), "max_tokens": 9}
    with anthropic.Anthropic(base_url=url, api_key=slow, max_retries=5) as client:
        tries = [client.messages.with_raw_response.create(**ask).retries_taken for _ in range(2)]
    with anthropic.Anthropic(base_url=url, api_key=spent, max_retries=5) as client:
        client.messages.create(**ask)
        return {"waited": sum(tries) > 0, "spent": raised(lambda: client.messages.create(**ask))}


def main(url: str, key: str, slow: str, spent: str, *models: str) -> None:
    seen: dict[str, Any] = {"version": anthropic.__version__}
    with anthropic.Anthropic(base_url=url, api_key=key, max_retries=0, timeout=30) as client:
        for model in models:
            seen[model] = {
                "messages": messages(client, model),
                "tools": talk(client, model, "Weather in Bern?", streamed=False),
                "parallel": talk(client, model, "Weather in Bern and Rome?", streamed=False),
                "parallel_streamed": talk(client, model, "Weather in Bern and Rome?", streamed=True),
                "parsed": parsed(client, model),
                "runner": runner(client, model),
                "errors": errors(client, url, model),
            }
        seen["models"] = [sorted(model.id for model in client.models.list()), client.models.retrieve(models[0]).id]
        raw = client.messages.with_raw_response.create(model=models[0], messages=user("Say hello."), max_tokens=9)
        known = raw.parse()._request_id == raw.headers["request-id"]
        seen["raw"] = [known, bool(raw.headers["hub-receipt"]), raw.headers["content-type"]]
        brief = client.with_options(timeout=0.2)
        seen["timeout"] = raised(lambda: brief.messages.create(model=models[0], messages=user("Wait."), max_tokens=9))
    with anthropic.Anthropic(base_url=url, auth_token=key, api_key=None) as bearer:
        seen["bearer"] = told(bearer.messages.create(model=models[0], messages=user("Say hello."), max_tokens=9))[0]
    seen["patience"] = patience(url, slow, spent, models[0])
    print(json.dumps(seen))


if __name__ == "__main__":
    main(*sys.argv[1:])
