"""A uri that is hidden or denied stays so in the spellings many servers take for the same."""

import pytest

from hub.call import Caller, Grant, Target
from hub.grants import granted
from virtual_servers.templates import Shield

HIDDEN = "file:///etc/passwd"
SAME = ["file:///etc/passwd?x=1", "file:///etc/passwd#top", "file:///etc/passwd/", "file:///etc//passwd?", "FILE:///etc/p%61sswd#"]


@pytest.mark.parametrize("uri", SAME)
def test_a_hidden_uri_cannot_be_reached_by_a_query_or_a_fragment(uri: str) -> None:
    assert Shield("files", [HIDDEN], []).hides(uri)
    assert Shield("files", [], [HIDDEN]).hides(uri)
    assert not Shield("files", [HIDDEN], []).hides(uri.replace("sswd", "sswds"))


@pytest.mark.parametrize("uri", SAME[:3])
def test_a_denied_uri_cannot_be_reached_by_a_query_or_a_fragment(uri: str) -> None:
    caller = Caller("default", "user:ann", "k", (Grant(virtual_server="*", deny=(HIDDEN,)),))
    assert granted(caller, "virtual_server", "main", Target("files", "resource", uri)).reason == "grant:0:deny"
    assert granted(caller, "virtual_server", "main", Target("files", "resource", "file:///etc/hosts?x")).allowed
