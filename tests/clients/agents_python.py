"""Agents of two frameworks with a tool, whole and streamed, by each API they can ask a model with; prints what each came to as JSON.

Arguments: the hub's URL, a key, and the models to ask. Run by the interpreter of the environment of requirements/agents.txt.
"""

import asyncio
import json
import sys
from collections.abc import Callable
from typing import Any

import agents
import anthropic
import openai
import pydantic_ai
from agents import OpenAIChatCompletionsModel, OpenAIResponsesModel, Runner, function_tool
from pydantic import BaseModel
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.models.openai import OpenAIResponsesModel as ResponsesModel
from pydantic_ai.output import NativeOutput
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider

QUESTION = "Weather in Bern and Rome?"
KNOWS_SCHEMAS: Any = {"supports_json_schema_output": True}
"""What Pydantic AI tells by the names of Claude models, and cannot by an alias."""


class Person(BaseModel):
    name: str
    age: int


async def openai_agents(model: Any) -> Any:
    called: list[str] = []

    @function_tool
    def get_weather(city: str, days: int) -> str:
        """The weather"""
        called.append(city)
        return f"{city} {days}"

    agent = agents.Agent(name="Forecaster", instructions="You tell the weather.", model=model, tools=[get_weather])
    whole = await Runner.run(agent, QUESTION)
    streamed = Runner.run_streamed(agent, QUESTION)
    deltas = [
        event.data.delta
        async for event in streamed.stream_events()
        if getattr(getattr(event, "data", None), "type", "") == "response.output_text.delta"
    ]
    person = await Runner.run(agents.Agent(name="Clerk", model=model, output_type=Person), "Ada, 36.")
    return {
        "whole": whole.final_output,
        "streamed": [streamed.final_output, "".join(deltas)],
        "called": sorted(called),
        "tokens": whole.context_wrapper.usage.total_tokens,
        "person": person.final_output.model_dump(),
    }


async def pydantic_agents(model: Any) -> Any:
    called: list[str] = []
    agent = pydantic_ai.Agent(model, instructions="You tell the weather.")

    @agent.tool_plain(description="The weather")
    def get_weather(city: str, days: int) -> str:
        called.append(city)
        return f"{city} {days}"

    whole = await agent.run(QUESTION)
    async with agent.run_stream(QUESTION) as streamed:
        deltas = [delta async for delta in streamed.stream_text(delta=True, debounce_by=None)]
    person = await pydantic_ai.Agent(model, output_type=NativeOutput(Person)).run("Ada, 36.")
    return {
        "whole": whole.output,
        "streamed": [await streamed.get_output(), "".join(deltas)],
        "called": sorted(called),
        "tokens": whole.usage.total_tokens,
        "person": person.output.model_dump(),
    }


async def main(url: str, key: str, *models: str) -> None:
    agents.set_tracing_disabled(True)
    seen: dict[str, Any] = {}
    async with (
        openai.AsyncOpenAI(base_url=url + "/v1", api_key=key, max_retries=0) as by_openai,
        anthropic.AsyncAnthropic(base_url=url, api_key=key, max_retries=0) as by_anthropic,
    ):
        provider, other = OpenAIProvider(openai_client=by_openai), AnthropicProvider(anthropic_client=by_anthropic)
        ways: dict[str, Callable[[str], Any]] = {
            "agents-chat": lambda model: openai_agents(OpenAIChatCompletionsModel(model, by_openai)),
            "agents-responses": lambda model: openai_agents(OpenAIResponsesModel(model, by_openai)),
            "pydantic-chat": lambda model: pydantic_agents(OpenAIChatModel(model, provider=provider)),
            "pydantic-responses": lambda model: pydantic_agents(ResponsesModel(model, provider=provider)),
            "pydantic-messages": lambda model: pydantic_agents(AnthropicModel(model, provider=other, profile=KNOWS_SCHEMAS)),
        }
        for name, way in ways.items():
            for model in models:
                seen[f"{name} {model}"] = await way(model)
    print(json.dumps(seen))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
