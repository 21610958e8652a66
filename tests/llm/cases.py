"""The inputs of the translation matrix: what clients ask in each dialect, and what providers answer in each, whole and streamed.

Written by hand after the APIs' references and recordings, never with the code under test. One name means the same thing everywhere.
"""

from typing import Any

WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string", "description": "A town"}, "days": {"type": "integer"}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
PDF = "JVBERi0xLjQKJSVFT0YK"
SIGNATURE = "EqQBCkgIARABGAIiQL8v3pQ=="
ENCRYPTED = "gAAAAABo7fZ1Zz=="

_CHAT_TOOL = {"type": "function", "function": {"name": "get_weather", "description": "The weather", "parameters": WEATHER, "strict": True}}
_RESPONSES_TOOL = {"type": "function", "name": "get_weather", "description": "The weather", "parameters": WEATHER, "strict": True}
_MESSAGES_TOOL = {"name": "get_weather", "description": "The weather", "input_schema": WEATHER}

CHAT: dict[str, dict[str, Any]] = {
    "text": {
        "model": "fast",
        "messages": [{"role": "system", "content": "You are terse."}, {"role": "user", "content": "Say hello."}],
        "temperature": 0.2,
        "max_completion_tokens": 64,
        "user": "u-17",
    },
    "tools": {
        "model": "fast",
        "messages": [
            {"role": "user", "content": "Weather in Bern?"},
            {
                "role": "assistant",
                "content": "Let me look.",
                "tool_calls": [
                    {"id": "call_a1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Bern","days":1}'}}
                ],
            },
            {"role": "tool", "tool_call_id": "call_a1", "content": "12 °C, rain"},
        ],
        "tools": [_CHAT_TOOL],
        "tool_choice": "auto",
    },
    "parallel": {
        "model": "fast",
        "messages": [
            {"role": "user", "content": "Weather in Bern and Rome?"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "call_a1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Bern","days":1}'}},
                    {"id": "call_b2", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Rome","days":1}'}},
                ],
            },
            {"role": "tool", "tool_call_id": "call_a1", "content": "12 °C, rain"},
            {"role": "tool", "tool_call_id": "call_b2", "content": "24 °C, sun"},
            {"role": "user", "content": "Go on."},
        ],
        "tools": [_CHAT_TOOL],
        "tool_choice": {"type": "function", "function": {"name": "get_weather"}},
        "parallel_tool_calls": False,
    },
    "images": {
        "model": "fast",
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is it?"},
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
                    {"type": "image_url", "image_url": {"url": "https://example.com/cat.jpg", "detail": "high"}},
                    {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}},
                ],
            }
        ],
    },
    "reasoning": {
        "model": "deep",
        "messages": [{"role": "user", "content": "Is 91 prime?"}],
        "reasoning_effort": "medium",
        "max_completion_tokens": 16000,
    },
    "schema": {
        "model": "fast",
        "messages": [{"role": "user", "content": "Ada, 36."}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON, "strict": True}},
    },
    "refusal": {
        "model": "fast",
        "messages": [
            {"role": "user", "content": "Do harm."},
            {"role": "assistant", "content": None, "refusal": "I cannot help with that."},
            {"role": "user", "content": "Why?"},
        ],
    },
    "limits": {
        "model": "fast",
        "messages": [{"role": "developer", "content": "Count."}, {"role": "user", "content": "1, 2,"}],
        "max_tokens": 10,
        "top_p": 0.9,
        "seed": 7,
        "service_tier": "flex",
        "metadata": {"feature": "count"},
        "stream": True,
    },
}

RESPONSES: dict[str, dict[str, Any]] = {
    "text": {
        "model": "fast",
        "instructions": "You are terse.",
        "input": "Say hello.",
        "temperature": 0.2,
        "max_output_tokens": 64,
        "user": "u-17",
    },
    "tools": {
        "model": "fast",
        "input": [
            {"role": "user", "content": "Weather in Bern?"},
            {
                "type": "message",
                "id": "msg_1",
                "role": "assistant",
                "status": "completed",
                "content": [{"type": "output_text", "text": "Let me look.", "annotations": []}],
            },
            {"type": "function_call", "id": "fc_1", "call_id": "call_a1", "name": "get_weather", "arguments": '{"city":"Bern","days":1}'},
            {"type": "function_call_output", "call_id": "call_a1", "output": "12 °C, rain"},
        ],
        "tools": [_RESPONSES_TOOL],
        "tool_choice": "auto",
    },
    "parallel": {
        "model": "fast",
        "input": [
            {"role": "user", "content": "Weather in Bern and Rome?"},
            {"type": "function_call", "call_id": "call_a1", "name": "get_weather", "arguments": '{"city":"Bern","days":1}'},
            {"type": "function_call", "call_id": "call_b2", "name": "get_weather", "arguments": '{"city":"Rome","days":1}'},
            {"type": "function_call_output", "call_id": "call_a1", "output": "12 °C, rain"},
            {"type": "function_call_output", "call_id": "call_b2", "output": "24 °C, sun"},
            {"role": "user", "content": "Go on."},
        ],
        "tools": [_RESPONSES_TOOL],
        "tool_choice": {"type": "function", "name": "get_weather"},
        "parallel_tool_calls": False,
    },
    "images": {
        "model": "fast",
        "input": [
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "What is it?"},
                    {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}", "detail": "auto"},
                    {"type": "input_image", "image_url": "https://example.com/cat.jpg", "detail": "high"},
                    {"type": "input_file", "filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"},
                ],
            }
        ],
    },
    "reasoning": {
        "model": "deep",
        "input": [
            {"role": "user", "content": "Is 91 prime?"},
            {
                "type": "reasoning",
                "id": "rs_1",
                "summary": [{"type": "summary_text", "text": "7 times 13."}],
                "encrypted_content": ENCRYPTED,
            },
            {"type": "message", "role": "assistant", "content": "No."},
            {"role": "user", "content": "And 97?"},
        ],
        "reasoning": {"effort": "medium", "summary": "auto"},
        "max_output_tokens": 16000,
    },
    "schema": {
        "model": "fast",
        "input": "Ada, 36.",
        "text": {"format": {"type": "json_schema", "name": "person", "schema": PERSON, "strict": True}, "verbosity": "low"},
    },
    "refusal": {
        "model": "fast",
        "input": [
            {"role": "user", "content": "Do harm."},
            {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "I cannot help with that."}]},
            {"role": "user", "content": "Why?"},
        ],
    },
    "limits": {
        "model": "fast",
        "input": [{"role": "developer", "content": "Count."}, {"role": "user", "content": "1, 2,"}],
        "max_output_tokens": 10,
        "top_p": 0.9,
        "service_tier": "flex",
        "truncation": "auto",
        "metadata": {"feature": "count"},
        "store": False,
        "stream": True,
    },
}

MESSAGES: dict[str, dict[str, Any]] = {
    "text": {
        "model": "fast",
        "max_tokens": 64,
        "system": "You are terse.",
        "messages": [{"role": "user", "content": "Say hello."}],
        "temperature": 0.2,
        "metadata": {"user_id": "u-17"},
    },
    "tools": {
        "model": "fast",
        "max_tokens": 1024,
        "messages": [
            {"role": "user", "content": "Weather in Bern?"},
            {
                "role": "assistant",
                "content": [
                    {"type": "text", "text": "Let me look."},
                    {"type": "tool_use", "id": "toolu_a1", "name": "get_weather", "input": {"city": "Bern", "days": 1}},
                ],
            },
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_a1", "content": "12 °C, rain"}]},
        ],
        "tools": [_MESSAGES_TOOL],
        "tool_choice": {"type": "auto"},
    },
    "parallel": {
        "model": "fast",
        "max_tokens": 1024,
        "messages": [
            {"role": "user", "content": "Weather in Bern and Rome?"},
            {
                "role": "assistant",
                "content": [
                    {"type": "tool_use", "id": "toolu_a1", "name": "get_weather", "input": {"city": "Bern", "days": 1}},
                    {"type": "tool_use", "id": "toolu_b2", "name": "get_weather", "input": {"city": "Rome", "days": 1}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "toolu_a1", "content": [{"type": "text", "text": "12 °C, rain"}]},
                    {
                        "type": "tool_result",
                        "tool_use_id": "toolu_b2",
                        "is_error": True,
                        "content": [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}],
                    },
                    {"type": "text", "text": "Go on."},
                ],
            },
        ],
        "tools": [_MESSAGES_TOOL],
        "tool_choice": {"type": "tool", "name": "get_weather", "disable_parallel_tool_use": True},
    },
    "images": {
        "model": "fast",
        "max_tokens": 1024,
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is it?", "cache_control": {"type": "ephemeral"}},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
                    {"type": "image", "source": {"type": "url", "url": "https://example.com/cat.jpg"}},
                    {"type": "document", "title": "a.pdf", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}},
                    {"type": "document", "title": "Notes", "source": {"type": "text", "media_type": "text/plain", "data": "A cat."}},
                ],
            }
        ],
    },
    "reasoning": {
        "model": "deep",
        "max_tokens": 16000,
        "messages": [
            {"role": "user", "content": "Is 91 prime?"},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "7 times 13.", "signature": SIGNATURE},
                    {"type": "redacted_thinking", "data": "EmwKAhgB=="},
                    {"type": "text", "text": "No."},
                ],
            },
            {"role": "user", "content": "And 97?"},
        ],
        "thinking": {"type": "enabled", "budget_tokens": 8000},
    },
    "schema": {
        "model": "fast",
        "max_tokens": 1024,
        "messages": [{"role": "user", "content": "Ada, 36."}],
        "output_config": {"format": {"type": "json_schema", "schema": PERSON}},
    },
    "refusal": {
        "model": "fast",
        "max_tokens": 1024,
        "messages": [
            {"role": "user", "content": "Do harm."},
            {"role": "assistant", "content": "I cannot help with that."},
            {"role": "user", "content": "Why?"},
        ],
    },
    "limits": {
        "model": "fast",
        "max_tokens": 10,
        "system": [{"type": "text", "text": "Count.", "cache_control": {"type": "ephemeral"}}],
        "messages": [{"role": "user", "content": "1, 2,"}],
        "top_p": 0.9,
        "top_k": 40,
        "service_tier": "auto",
        "stream": True,
    },
}

REQUESTS = {"chat": CHAT, "responses": RESPONSES, "messages": MESSAGES}
