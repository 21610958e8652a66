"""LangChain's chat models for either family through the hub: chat, stream, tools, typed answers, usage, errors; prints what each saw as JSON.

Arguments: the hub's URL, a key, and the models to ask. Run by the interpreter of the environment of requirements/agents.txt.
"""

import asyncio
import json
import sys
from typing import Any

import anthropic
import openai
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

HELLO, QUESTION = "Say hello.", "Weather in Bern and Rome?"


class Person(BaseModel):
    name: str
    age: int


@tool(description="The weather")
def get_weather(city: str, days: int) -> str:
    return f"{city} {days}"


async def seen(chat: Any) -> dict[str, Any]:
    whole = chat.invoke(HELLO)
    streamed: Any = None
    async for chunk in chat.astream(HELLO):
        streamed = chunk if streamed is None else streamed + chunk
    person = chat.with_structured_output(Person, method="json_schema").invoke("Ada, 36.")
    return {
        "whole": [whole.text, used(whole)],
        "streamed": [streamed.text, used(streamed)],
        "tools": told(chat),
        "person": person.model_dump(),
        "error": refused(chat),
    }


def told(chat: Any) -> list[Any]:
    """A conversation with two calls at once: what is called, and what the model makes of the results."""
    able, talk = chat.bind_tools([get_weather]), [HumanMessage(QUESTION)]
    asked = able.invoke(talk)
    results: list[ToolMessage] = [get_weather.invoke(call) for call in asked.tool_calls]
    return [[one.content for one in results], able.invoke([*talk, asked, *results]).text]


def refused(chat: Any) -> list[Any]:
    try:
        chat.invoke("Fail 429.")
    except Exception as error:
        return [isinstance(error, openai.RateLimitError | anthropic.RateLimitError), getattr(error, "status_code", None)]
    return []


def used(message: Any) -> list[int]:
    usage = message.usage_metadata
    return [usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]]


async def main(url: str, key: str, *models: str) -> None:
    found: dict[str, Any] = {}
    for model in models:
        of_openai: dict[str, Any] = {"model": model, "base_url": url + "/v1", "api_key": key, "max_retries": 0, "stream_usage": True}
        found[f"chat {model}"] = await seen(ChatOpenAI(**of_openai))
        found[f"responses {model}"] = await seen(ChatOpenAI(**of_openai, use_responses_api=True))
        found[f"messages {model}"] = await seen(ChatAnthropic(model=model, base_url=url, api_key=key, max_retries=0))
    print(json.dumps(found))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
