"""The spans of one call: the hub's own (server), what it asked for downstream (client), and each attempt at a model (client). Pure.

Names: open-telemetry/semantic-conventions-genai (docs/gen-ai/client-inference.md, docs/gen-ai/mcp.md; schema gen-ai 1.42.0, in
development) and the HTTP conventions for attempts; what they have no name for stands under `hub.`. No content is looked at.
"""

from collections.abc import Mapping

from hub.call import Call, Tokens
from hub.entropy import take
from hub.telemetry.ended import Ended
from hub.telemetry.peers import Peer
from hub.telemetry.span import CLIENT, SERVER, Span, Value

SCHEMA = "https://opentelemetry.io/schemas/gen-ai/1.42.0"

_OPERATIONS = {"llm.chat": "chat", "llm.responses": "chat", "llm.messages": "chat", "llm.completions": "text_completion"}
_AT_FAULT = frozenset({"internal", "journal_unavailable", "store_unavailable", "outcome_unrecorded"})
_USAGE = (
    ("cache_read", "gen_ai.usage.cache_read.input_tokens"),
    ("audio_in", "gen_ai.usage.audio.input_tokens"),
    ("image_in", "gen_ai.usage.image.input_tokens"),
    ("reasoning", "gen_ai.usage.reasoning.output_tokens"),
    ("audio_out", "gen_ai.usage.audio.output_tokens"),
)
_NOBODY = Peer()


def tree(ended: Ended, peers: Mapping[str, Peer]) -> list[Span]:
    """The hub's span first, then those below it."""
    call, trace, timings = ended.call, ended.call.trace, ended.timings
    assert trace is not None
    error = _error(ended)
    whole = Span(
        _name(call),
        SERVER,
        trace.trace_id,
        trace.span_id,
        trace.parent_id,
        ended.at - timings.auth - timings.receive,
        ended.at + timings.end - timings.begin,
        {**_who(ended), **_how(ended), **(_mcp(call) if call.kind.startswith("mcp.") else {})},
        error,
        trace.state,
    )
    _erring(whole)
    if not timings.sent or call.target is None:
        return [whole]
    below = _model(ended, whole, peers) if call.target.kind == "model" else [_tool(ended, whole, peers)]
    for span in below:
        span.attributes.update(_named(ended))
        _erring(span)
    return [whole, *below]


def _name(call: Call) -> str:
    """Of few values: what a client named, and nothing of the configuration has, is left out."""
    if call.kind.startswith("mcp."):
        return f"{call.method} {call.target.name}" if call.target is not None and call.target.kind in ("tool", "prompt") else call.method
    return f"{call.kind} {call.door}" if call.target is not None else call.kind


def _error(ended: Ended) -> str:
    """A refusal is the caller's affair, not an error of this span, unless the hub itself failed."""
    return ended.code if ended.status == "error" or ended.code in _AT_FAULT else ""


def _erring(span: Span) -> None:
    if span.error:
        span.attributes["error.type"] = span.error


def _named(ended: Ended) -> dict[str, Value]:
    """Whose call it is: on every span of it."""
    caller = ended.caller
    user = caller.user or caller.subject
    found: dict[str, Value] = {
        "user.id": user,
        "session.id": ended.call.session,
        "hub.org": caller.org,
        "hub.key.id": caller.key_id,
        "hub.team": caller.team,
        "hub.project": caller.project,
        "hub.app": caller.app,
    }
    return {name: value for name, value in found.items() if value}


def _who(ended: Ended) -> dict[str, Value]:
    return {"hub.request.id": ended.call.id, "hub.kind": ended.call.kind, **_named(ended)}


def _how(ended: Ended) -> dict[str, Value]:
    call, decision = ended.call, ended.decision
    found: dict[str, Value] = {"hub.status": ended.status}
    if ended.code:
        found["hub.code"] = ended.code
    if call.target is not None:
        found["hub.door"] = call.door
        found["hub.target"] = str(call.target)
    if decision is not None:
        found["hub.policy.allow"] = decision.allow
        found["hub.policy.reasons"] = list(decision.reasons)
    for name, nanoseconds in ended.timings.steps().items():
        found[f"hub.step.{name}"] = nanoseconds / 1e9
    return found


def _mcp(call: Call) -> dict[str, Value]:
    found: dict[str, Value] = {"mcp.method.name": call.method}
    if call.era:
        found["mcp.protocol.version"] = call.era
    if call.client_id:
        found["jsonrpc.request.id"] = call.client_id.strip('"')
    if call.session:
        found["mcp.session.id"] = call.session
    if call.target is not None and call.target.kind == "tool":
        found["gen_ai.operation.name"] = "execute_tool"
        found["gen_ai.tool.name"] = call.target.name
    elif call.target is not None and call.target.kind == "prompt":
        found["gen_ai.prompt.name"] = call.target.name
    return found


def _below(ended: Ended, whole: Span, name: str, span_id: str, parent: str, start: int, end: int) -> Span:
    """`start` and `end` in the clock of the timings."""
    at = ended.at - ended.timings.begin
    return Span(name, CLIENT, whole.trace_id, span_id, parent, at + start, at + end)


def _placed(peer: Peer) -> dict[str, Value]:
    return {"server.address": peer.address, "server.port": peer.port} if peer.address else {}


def _tool(ended: Ended, whole: Span, peers: Mapping[str, Peer]) -> Span:
    call, timings = ended.call, ended.timings
    assert call.target is not None
    peer = peers.get(f"mcp:{call.target.upstream}", _NOBODY)
    span = _below(ended, whole, _name(call), ended.client_span, whole.span_id, timings.sent, timings.answered or timings.end)
    span.attributes = _mcp(call)
    for theirs in ("mcp.session.id", "mcp.protocol.version", "jsonrpc.request.id"):  # the client's, not the server's
        span.attributes.pop(theirs, None)
    span.attributes |= {"network.transport": "tcp" if peer.address else "pipe", "hub.upstream": call.target.upstream, **_placed(peer)}
    span.error = ended.code if ended.status == "error" else ""
    return span


def _model(ended: Ended, whole: Span, peers: Mapping[str, Peer]) -> list[Span]:
    """What was asked of a model, with what it used; below it one span for each attempt."""
    call, timings = ended.call, ended.timings
    assert call.target is not None
    last = ended.route[-1] if ended.route else {"upstream": call.target.upstream, "name": call.target.name}
    peer = peers.get(f"model:{last['upstream']}", _NOBODY)
    operation = _OPERATIONS.get(call.kind, call.kind.removeprefix("llm."))
    end = timings.answered or timings.end
    asked = _below(ended, whole, f"{operation} {last['name']}", ended.client_span, whole.span_id, timings.sent, end)
    asked.attributes = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": peer.provider or str(last["upstream"]),
        "gen_ai.request.model": str(last["name"]),
        **_placed(peer),
        **_answered(ended),
    }
    asked.error = ended.code if ended.status == "error" else ""
    return [asked, *_attempts(ended, asked, peers)]


def _answered(ended: Ended) -> dict[str, Value]:
    found: dict[str, Value] = {}
    said, usage, timings = ended.said, ended.reply.usage if ended.reply is not None else None, ended.timings
    if ended.streamed:
        found["gen_ai.request.stream"] = True
        found["gen_ai.response.time_to_first_chunk"] = (timings.first - timings.sent) / 1e9
    if said is not None:
        found |= {name: value for name, value in (("gen_ai.response.id", said.id), ("gen_ai.response.model", said.model)) if value}
        if said.reasons:
            found["gen_ai.response.finish_reasons"] = said.reasons
    if usage is not None and usage.tokens is not None:
        found |= _counts(usage.tokens)
    if usage is not None and usage.cost is not None:
        found["hub.cost.usd"] = usage.cost / 1e9
    return found


def _counts(tokens: Tokens) -> dict[str, Value]:
    found: dict[str, Value] = {"gen_ai.usage.input_tokens": tokens.input, "gen_ai.usage.output_tokens": tokens.output}
    found |= {name: count for member, name in _USAGE if (count := getattr(tokens, member))}
    written = tokens.cache_write + tokens.cache_write_1h
    return found | {"gen_ai.usage.cache_write.input_tokens": written} if written else found


def _attempts(ended: Ended, asked: Span, peers: Mapping[str, Peer]) -> list[Span]:
    """One after the other, as long as each took to its first byte; the last one to the end of the answer."""
    found: list[Span] = []
    start = ended.timings.sent
    for number, one in enumerate(ended.route):
        us = one["us"]
        end = start + (us if isinstance(us, int) else 0) * 1000
        is_last = number == len(ended.route) - 1
        until = max(end, ended.timings.answered) if is_last else end
        peer = peers.get(f"model:{one['upstream']}", _NOBODY)
        span = _below(ended, asked, "POST", take(8).hex(), asked.span_id, start, until)
        result = str(one["result"])
        status = "200" if result == "ok" else result.removeprefix("status:")
        span.attributes = {"http.request.method": "POST", "hub.attempt.target": f"{one['upstream']}/{one['name']}", **_placed(peer)}
        if number:
            span.attributes["http.request.resend_count"] = number
        if status.isdigit():
            span.attributes["http.response.status_code"] = int(status)
        span.error = "" if result == "ok" else status
        found.append(span)
        start = end
    return found
