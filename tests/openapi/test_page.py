"""The page in a real browser that reaches nothing but the hub: drawn, searched, read and copied from, by keyboard, in light and dark."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from hub.admin.document import POLICY
from tests.openapi.test_document import EVERY
from tests.services.chromium import Tab, tab
from tests.support.hub import ROOT, Hub

OPERATIONS = [one["operationId"] for _, _, one in EVERY]
HELD = "[...document.querySelectorAll('article:not([hidden])')].map((one) => one.id)"
CONTRAST = """
(() => {
  const channel = (part) => (part /= 255) <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => { const [r, g, b] = parts(colour).map(channel); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const ground = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (parts(colour)[3] !== 0) return colour;
    }
  };
  const own = (node) => [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
  return [...document.querySelectorAll("body *")].filter((node) => own(node) && node.checkVisibility()).map((node) => {
    const [a, b] = [light(getComputedStyle(node).color), light(ground(node))];
    return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), node.className + " " + node.textContent.slice(0, 40)];
  }).sort((one, other) => one[0] - other[0])[0];
})()
"""
"""The lowest contrast of any text that is seen (WCAG 2.2, relative luminance), and where it is."""


@pytest.fixture
async def page(hub: Hub) -> AsyncIterator[Tab]:
    async with tab() as found:
        await found.do("Page.navigate", url=f"{hub.url}/docs")
        await found.until("document.documentElement?.dataset.drawn === 'true'")
        yield found
        asked = [event["request"]["url"] for name, event in found.events if name == "Network.requestWillBeSent"]
        assert {url.removeprefix(hub.url).partition("#")[0] for url in asked} <= {
            "/docs",
            "/docs/page.css",
            "/docs/page.js",
            "/openapi.json",
            "/favicon.ico",
        }
        thrown = [event for name, event in found.events if name == "Runtime.exceptionThrown"]
        logged = [event["entry"] for name, event in found.events if name == "Log.entryAdded" and event["entry"]["level"] == "error"]
        assert not thrown
        assert all(entry.get("url", "").endswith("/favicon.ico") for entry in logged), logged


@pytest.mark.parametrize("path", ["/docs", "/docs/page.css", "/docs/page.js", "/openapi.json"])
def test_it_is_served_under_a_policy_that_lets_nothing_else_in(hub: Hub, path: str) -> None:
    with urlopen(hub.url + path, timeout=30) as answer:
        assert answer.headers["content-security-policy"] == POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"
        body = answer.read().decode()
    assert "unsafe" not in POLICY
    if path.startswith("/docs"):
        assert "://" not in body, "it names no other place"
        assert "innerHTML" not in body
        assert "<style" not in body
        assert "style=" not in body


async def test_every_operation_is_there_once_by_its_tag_and_the_search_finds_it(page: Tab) -> None:
    assert sorted(await page.value(HELD)) == sorted(OPERATIONS)
    assert await page.value("document.querySelectorAll('nav li a').length") == len(OPERATIONS)
    await page.press("/", "/")
    assert await page.value("document.activeElement.id") == "search"
    await page.write("vault rotate")
    assert await page.value(HELD) == ["rotate_vault"]
    assert await page.value("document.getElementById('found').textContent") == f"1 of {len(OPERATIONS)} operations"
    await page.press("Escape")
    assert len(await page.value(HELD)) == len(OPERATIONS)
    await page.write("model_not_priced")
    assert set(await page.value(HELD)) == {one["operationId"] for _, path, one in EVERY if path.startswith("/v1/")}


async def test_an_operation_is_opened_by_keyboard_with_its_schemas_expanded_and_its_answers_told(page: Tab) -> None:
    await page.value("document.querySelector('nav a[href=\"#create_chat\"]').focus()")
    await page.press("Enter", "\r")
    await page.until("document.querySelector('#create_chat .body').hasChildNodes()")
    assert await page.value("document.activeElement.closest('article').id") == "create_chat"
    said = await page.value("document.querySelector('#create_chat').innerText")
    for words in (
        "messages",
        "stream_options",
        "include_usage",
        "a hub key",
        "hub-cost-estimate",
        "x-request-id",
        "… and whatever else it holds",
    ):
        assert words in said, words
    assert await page.value("document.querySelector('nav a[aria-current]').hash") == "#create_chat"
    await page.press("Enter", "\r")
    assert not await page.value("document.querySelector('#create_chat details').open"), "the same key closes it"


async def test_everything_can_be_reached_and_has_a_name(page: Tab) -> None:
    await page.value("document.querySelectorAll('article > details').forEach((one) => { one.open = true; })")
    await page.until("[...document.querySelectorAll('article .body')].every((one) => one.hasChildNodes())")
    nodes = (await page.do("Accessibility.getFullAXTree"))["nodes"]
    seen = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node["ignored"]]
    roles = {role for role, _ in seen}
    assert {"banner", "navigation", "main", "search", "searchbox", "article", "heading", "table"} <= roles
    nameless = [
        role for role, name in seen if role in ("link", "button", "searchbox", "combobox", "article", "region", "heading") and not name
    ]
    assert not nameless
    assert await page.value("document.querySelectorAll('h1').length") == 1
    assert await page.value(
        "new Set([...document.querySelectorAll('[id]')].map((one) => one.id)).size === document.querySelectorAll('[id]').length"
    )
    await page.value("document.activeElement.blur()")
    await page.press("Tab")
    assert await page.value("document.activeElement.className") == "skip", "the first thing the keyboard comes to leads past the contents"


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_it_can_be_read_in_light_and_dark_and_on_a_small_screen(page: Tab, scheme: str) -> None:
    grounds: list[str] = []
    for width in (1280, 360):
        await page.do("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False)
        await page.do("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        await page.value("document.querySelectorAll('#create_key details, #mcp_send details').forEach((one) => { one.open = true; })")
        await page.until("document.querySelector('#mcp_send .body').hasChildNodes()")
        assert await page.value("document.documentElement.scrollWidth <= innerWidth"), f"it is wider than {width} pixels"
        lowest = await page.value(CONTRAST)
        assert lowest[0] >= 4.5, lowest
        grounds.append(await page.value("getComputedStyle(document.body).backgroundColor"))
    other = "light" if scheme == "dark" else "dark"
    await page.value(
        f"(() => {{ const one = document.getElementById('theme'); one.value = '{other}'; one.dispatchEvent(new Event('change')); }})()"
    )
    assert await page.value("getComputedStyle(document.body).backgroundColor") != grounds[0]
    await page.do("Page.reload")
    await page.until("document.documentElement?.dataset.drawn === 'true'")
    assert await page.value("document.documentElement.dataset.theme") == other, "what was chosen is kept"


async def test_what_is_copied_runs(page: Tab, hub: Hub) -> None:
    await page.do("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    for name, key, words in (
        ("create_messages", "ann", ""),
        ("list_keys", "root", '"keys"'),
        ("ready", "ann", '"ready"'),
        ("mcp_send", "ann", '"tools"'),
    ):
        await page.value(f"location.hash = '#{name}'")
        await page.until(f"document.querySelector('#{name} .body').hasChildNodes()")
        await page.value(f"document.querySelector('#{name} button[aria-label=\"Copy Python\"]').focus()")
        await page.press("Enter", "\r")
        await page.until("document.getElementById('said').textContent === 'Copied'")
        shown = await page.value(f"document.querySelector('#{name} pre[aria-label=Python]').innerText")
        assert (await page.value("navigator.clipboard.readText()")).strip() == shown.strip()
        done = await _run([sys.executable, "-c", shown], hub.keys[key])
        assert done.returncode == 0, done.stderr
        assert words in done.stdout
        await page.value("document.getElementById('said').textContent = ''")


async def test_the_curl_that_is_shown_asks_for_what_the_document_says(page: Tab, hub: Hub, tmp_path: Path) -> None:
    """A shell of this machine splits the words; what stands in for curl writes them down."""
    stand_in = tmp_path / "curl"
    stand_in.write_text("#!/bin/sh\nprintf '%s\\0' \"$@\"\n")
    stand_in.chmod(0o755)
    await page.value("document.querySelectorAll('article > details').forEach((one) => { one.open = true; })")
    await page.until("[...document.querySelectorAll('article .body')].every((one) => one.hasChildNodes())")
    shown: dict[str, str] = await page.value(
        "Object.fromEntries([...document.querySelectorAll('article')].map((one) => [one.id, one.querySelector('pre[aria-label=curl]').innerText]))"
    )
    for method, path, one in EVERY:
        done = await asyncio.to_thread(
            subprocess.run,
            ["sh", "-c", shown[one["operationId"]]],
            env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "HUB_KEY": "hub_key"},
            capture_output=True,
            text=True,
            check=True,
        )
        words = done.stdout.split("\0")
        assert any(word.startswith(hub.url + path.partition("{")[0]) for word in words)
        assert ("authorization: Bearer hub_key" in words) == (one.get("security") != [])
        if "requestBody" in one:
            assert json.loads(words[words.index("-d") + 1]) == one["requestBody"]["content"]["application/json"]["example"]
        elif method != "GET":
            assert words[words.index("-X") + 1] == method


async def _run(argv: list[str], key: str) -> "subprocess.CompletedProcess[str]":
    environment = {"PATH": os.environ["PATH"], "HUB_KEY": key, "PYTHONPATH": str(ROOT)}
    return await asyncio.to_thread(subprocess.run, argv, env=environment, capture_output=True, text=True, timeout=60, check=False)
