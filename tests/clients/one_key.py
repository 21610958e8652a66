"""Agents that take their tools from one door of the hub and their model from it too, with one and the same key; prints what came of each.

Arguments: the hub's URL, then for each run: the framework (`agents` or `pydantic`), the key, the task. Run by the interpreter of the
environment of requirements/agents.txt.
"""

import asyncio
import json
import secrets
import sys
from typing import Any

import agents
import anthropic
import openai
import pydantic_ai
from agents import OpenAIResponsesModel, Runner
from agents.mcp import MCPServerStreamableHttp
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.providers.anthropic import AnthropicProvider

DOOR = "/mcp/desk"


def why(_: Any, error: Exception) -> str:
    """What its model hears of a tool that failed. Without this the OpenAI Agents SDK says only that it did."""
    return str(error)


async def openai_agents(url: str, key: str, headers: dict[str, str], task: str) -> str:
    params: Any = {"url": url + DOOR, "headers": {"authorization": f"Bearer {key}", **headers}}
    async with (
        openai.AsyncOpenAI(base_url=url + "/v1", api_key=key, default_headers=headers) as client,
        MCPServerStreamableHttp(params, client_session_timeout_seconds=60, cache_tools_list=True, failure_error_function=why) as desk,
    ):
        agent = agents.Agent(name="Clerk", model=OpenAIResponsesModel("fast", client), mcp_servers=[desk])
        return (await Runner.run(agent, task)).final_output


async def pydantic_agents(url: str, key: str, headers: dict[str, str], task: str) -> str:
    desk: Any = MCPToolset(url + DOOR, headers={"authorization": f"Bearer {key}", **headers})
    async with anthropic.AsyncAnthropic(base_url=url, api_key=key, default_headers=headers) as client:
        model = AnthropicModel("wise", provider=AnthropicProvider(anthropic_client=client))
        return (await pydantic_ai.Agent(model, toolsets=[desk]).run(task)).output


async def run(url: str, framework: str, key: str, task: str) -> dict[str, Any]:
    """`trace` is the id of the trace that all of its requests belong to."""
    trace = secrets.token_hex(16)
    headers = {"traceparent": f"00-{trace}-{secrets.token_hex(8)}-01"}
    ask = openai_agents if framework == "agents" else pydantic_agents
    try:
        return {"trace": trace, "said": await ask(url, key, headers, task)}
    except Exception as error:
        causes: list[BaseException] = [error]
        while (cause := causes[-1].__cause__) is not None:
            causes.append(cause)
        limited = any(isinstance(one, openai.RateLimitError | anthropic.RateLimitError) for one in causes)
        return {"trace": trace, "limited": limited, "error": type(error).__name__, "why": str(error)[:500]}


async def main(url: str, *runs: str) -> None:
    agents.set_tracing_disabled(True)
    print(json.dumps([await run(url, *runs[at : at + 3]) for at in range(0, len(runs), 3)]))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
