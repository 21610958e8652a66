"""Anthropic's Messages: requests, replies and streams, from and to canonical values. Pure."""

from hub.llm.messages.reply import read_reply, write_reply
from hub.llm.messages.request_in import read_request
from hub.llm.messages.request_out import write_request
from hub.llm.messages.stream_in import Reader
from hub.llm.messages.stream_out import Writer

__all__ = ["Reader", "Writer", "read_reply", "read_request", "write_reply", "write_request"]
