"""OpenAI's Responses: requests, replies and streams, from and to canonical values. Pure."""

from hub.llm.responses.reply import read_reply, write_reply
from hub.llm.responses.request_in import read_request
from hub.llm.responses.request_out import write_request
from hub.llm.responses.stream_in import Reader
from hub.llm.responses.stream_out import Writer

__all__ = ["Reader", "Writer", "read_reply", "read_request", "write_reply", "write_request"]
