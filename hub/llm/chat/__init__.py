"""OpenAI's chat completions, which most providers speak: requests, replies and streams, from and to canonical values. Pure."""

from hub.llm.chat.reply import read_reply, write_reply
from hub.llm.chat.request_in import read_request
from hub.llm.chat.request_out import write_request
from hub.llm.chat.stream_in import Reader
from hub.llm.chat.stream_out import Writer

__all__ = ["Reader", "Writer", "read_reply", "read_request", "write_reply", "write_request"]
