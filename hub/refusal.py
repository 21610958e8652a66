"""Every way the hub says no, each with a reader in mind.

::

    Refusal                    code                  HTTP  JSON-RPC
      Malformed
        ParseFailed            parse_error            400   -32700   the body is not JSON
        InvalidRequest         invalid_request        400   -32600   JSON, but not a request we can read
        InvalidParams          invalid_params         200   -32602   a request whose parameters do not fit
        MethodNotFound         method_not_found       200*  -32601   (* 404 in the 2026-07-28 era) a method or endpoint not served
        HeaderMismatch         header_mismatch        400   -32020   2026-07-28: headers and body disagree
        MissingCapability      missing_capability     400   -32021   2026-07-28: client lacks a capability
        UnsupportedVersion     unsupported_version    400   -32022   2026-07-28: no such protocol version here
        TooLarge               too_large              413   -31413   the body is larger than it may be
        WrongMediaType         wrong_media_type       415   -31415   the body is not declared to be JSON
        NotAcceptable          not_acceptable         406   -31406   the client takes none of the forms there are
        TimedOutReading        request_timeout        408   -31408   headers or body came too slowly
      Unauthenticated          unauthenticated        401   -31401   absent, unknown, expired and revoked look the same
      WrongHost                host_refused           403   -31403   Host or Origin is not ours (DNS rebinding)
      NotFound                 not_found              404   -31404   no such virtual server, or not for this caller
      SessionNotFound          session_not_found      404   -31404   older era: initialize again
      Denied                   denied                 200   -31403   grants or policy said no
      Limited                  limited                429   -31429   carries the time to wait
      BudgetExceeded           budget_exceeded        429*  -31429   (* as the budget says: 402, 403) names the budget, and when it resets
      Unpriced                 model_not_priced       402   -31402   a budget in money applies, and nobody knows what the model costs
      Unavailable
        JournalDown            journal_unavailable    503   -31503   no evidence, no action
        StoreDown              store_unavailable      503   -31503   the database or Redis does not answer
        Draining               draining               503   -31503   the hub is stopping
        NoCredential           credential_unavailable 503   -31503   the hub has no usable key for a provider
        UpstreamDown           upstream_unavailable   200   -31502   the server behind the tool cannot be reached
        UpstreamTimeout        upstream_timeout       200   -31504   it did not start or answer in time
        UpstreamFault          upstream_fault         200   -31502   it answered something that is not an answer
      OutcomeUnrecorded        outcome_unrecorded     503   -31500   it may have taken effect: do not retry blindly
      Internal                 internal               500   -32603   a fault of ours

Own JSON-RPC codes lie outside the range JSON-RPC reserves (-32768 to -32000). Messages are safe to show: they carry no secret, no
address and no stack. What an operator needs beyond them goes to the log under the same request id.
"""

from typing import Any, ClassVar


class Refusal(Exception):
    """A typed no. `message` is one sentence, safe to show; `data` joins the wire error, `retry_after` is in seconds."""

    code: ClassVar[str] = "refused"
    status: int = 400
    rpc: ClassVar[int] = -32600

    def __init__(self, message: str, *, retry_after: float | None = None, data: dict[str, Any] | None = None, detail: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after
        self.data = data or {}
        self.detail = detail
        """For the operator's log only."""
        self.facts: dict[str, Any] | None = None
        """What is known of the way to it, as `hub.call.Reply.facts`."""
        self.recorded = False
        """Whether a record says so already."""


class Malformed(Refusal):
    code = "malformed"


class ParseFailed(Malformed):
    code, rpc = "parse_error", -32700


class InvalidRequest(Malformed):
    code, rpc = "invalid_request", -32600


class InvalidParams(Malformed):
    code, status, rpc = "invalid_params", 200, -32602


class MethodNotFound(Malformed):
    code, status, rpc = "method_not_found", 200, -32601


class HeaderMismatch(Malformed):
    code, rpc = "header_mismatch", -32020


class MissingCapability(Malformed):
    code, rpc = "missing_capability", -32021


class UnsupportedVersion(Malformed):
    code, rpc = "unsupported_version", -32022


class TooLarge(Malformed):
    code, status, rpc = "too_large", 413, -31413


class WrongMediaType(Malformed):
    code, status, rpc = "wrong_media_type", 415, -31415


class NotAcceptable(Malformed):
    code, status, rpc = "not_acceptable", 406, -31406


class TimedOutReading(Malformed):
    code, status, rpc = "request_timeout", 408, -31408


class Unauthenticated(Refusal):
    code, status, rpc = "unauthenticated", 401, -31401

    def __init__(self) -> None:
        super().__init__("a valid hub key is required")


class WrongHost(Refusal):
    code, status, rpc = "host_refused", 403, -31403


class NotFound(Refusal):
    code, status, rpc = "not_found", 404, -31404


class SessionNotFound(Refusal):
    code, status, rpc = "session_not_found", 404, -31404


class Denied(Refusal):
    code, status, rpc = "denied", 200, -31403


class Limited(Refusal):
    code, status, rpc = "limited", 429, -31429


class BudgetExceeded(Refusal):
    """`retry_after` is None where waiting is pointless: nothing resets, or the call alone is more than the whole budget."""

    code, status, rpc = "budget_exceeded", 429, -31429

    def __init__(self, message: str, *, status: int = 429, retry_after: float | None = None, data: dict[str, Any] | None = None) -> None:
        super().__init__(message, retry_after=retry_after, data=data)
        self.status = status


class Unpriced(Refusal):
    code, status, rpc = "model_not_priced", 402, -31402


class Unavailable(Refusal):
    code, status, rpc = "unavailable", 503, -31503


class JournalDown(Unavailable):
    code = "journal_unavailable"


class StoreDown(Unavailable):
    code = "store_unavailable"


class Draining(Unavailable):
    code = "draining"


class NoCredential(Unavailable):
    code = "credential_unavailable"


class UpstreamDown(Unavailable):
    code, status, rpc = "upstream_unavailable", 200, -31502


class UpstreamTimeout(Unavailable):
    code, status, rpc = "upstream_timeout", 200, -31504


class UpstreamFault(Unavailable):
    code, status, rpc = "upstream_fault", 200, -31502


class OutcomeUnrecorded(Refusal):
    code, status, rpc = "outcome_unrecorded", 503, -31500

    def __init__(
        self, message: str = "the call was sent but its outcome could not be recorded: it may have taken effect, do not retry blindly"
    ) -> None:
        super().__init__(message)


class Internal(Refusal):
    code, status, rpc = "internal", 500, -32603
