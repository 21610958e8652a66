"""Requests of the older era under way in this process, by session and the client's own id, so that a notification can cancel them.

Source: MCP 2025-11-25 basic/utilities/cancellation. Ids are compared as raw JSON: `7` and `"7"` are two.
"""

from hub.edge.clients import Running
from hub.refusal import InvalidRequest


class Underway:
    """All of them in one process."""

    def __init__(self) -> None:
        self._requests: dict[tuple[str, bytes], Running | None] = {}

    def enter(self, session_id: str, request_id: bytes, running: Running | None) -> None:
        """Keep it until `leave`. `running` is None for a message of a batch, which is not cancelled by itself.

        Raises `InvalidRequest` where the id is taken already.
        """
        at = (session_id, request_id)
        if at in self._requests:
            raise InvalidRequest("a request with this id is under way in this session")
        self._requests[at] = running

    def leave(self, session_id: str, request_id: bytes) -> None:
        self._requests.pop((session_id, request_id), None)

    def cancel(self, session_id: str, request_id: bytes) -> bool:
        """Cut it. False where it is not under way here; then nothing is done."""
        at = (session_id, request_id)
        if at not in self._requests:
            return False
        running = self._requests[at]
        if running is not None:
            running.cut("cancelled")
        return True
