/* Draws openapi.json. Plain JavaScript, no library; text is always set as text, never as markup. */
"use strict";

const METHODS = ["get", "post", "put", "patch", "delete"];
const DEEPEST = 6;
const place = (id) => document.getElementById(id);
let whole; // the document
const shown = []; // {node, link, words} of each operation

/** An element with attributes and children; strings become text. */
function make(name, attributes, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value !== undefined && value !== false) node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== undefined && child !== ""));
  return node;
}

/** `code` in a line of text. */
function spans(text) {
  return text.split(/(`[^`]+`)/).map((part) => (/^`.+`$/.test(part) ? make("code", {}, part.slice(1, -1)) : part));
}

/** Paragraphs and lists of a description. */
function prose(text) {
  return (text || "").split(/\n\n+/).filter(Boolean).map((block) => {
    const lines = block.split("\n");
    if (lines.every((line) => line.startsWith("- "))) return make("ul", {}, lines.map((line) => make("li", {}, spans(line.slice(2)))));
    return make("p", {}, spans(lines.join(" ")));
  });
}

function resolved(value) {
  if (!value || !value.$ref) return value;
  return value.$ref.slice(2).split("/").reduce((at, key) => at[key], whole);
}

const nameOf = (value) => (value && value.$ref ? value.$ref.split("/").pop() : "");

/** A schema in a few words. */
function kind(schema) {
  const own = resolved(schema) || {};
  const named = nameOf(schema);
  if ("const" in own) return JSON.stringify(own.const);
  if (own.enum) return own.enum.length > 8 ? `${named || "one of"} (${own.enum.length} values)` : own.enum.map((one) => JSON.stringify(one)).join(" | ");
  if (own.anyOf) return [...new Set(own.anyOf.map(kind))].join(" | ");
  if (named && own.properties) return named;
  if (own.type === "array") return `list of ${own.items ? kind(own.items) : "anything"}`;
  if (own.type === "object" && own.additionalProperties && own.additionalProperties !== true) return `map to ${kind(own.additionalProperties)}`;
  return (Array.isArray(own.type) ? own.type.join(" | ") : own.type) || "anything";
}

function bounds(schema) {
  const said = { minimum: "at least", maximum: "at most", minLength: "length at least", maxLength: "length at most", minItems: "items at least",
    maxItems: "items at most", pattern: "matches" };
  const found = Object.keys(said).filter((key) => key in schema).map((key) => `${said[key]} ${schema[key]}`);
  if ("default" in schema && schema.default !== "") found.push(`default ${JSON.stringify(schema.default)}`);
  return found.join(", ");
}

/** What is inside a schema: the objects it may be, each with its members. */
function inner(schema, above = []) {
  const own = resolved(schema);
  if (!own || above.includes(own) || above.length > DEEPEST) return [];
  const here = [...above, own];
  if (own.anyOf) return own.anyOf.flatMap((one) => inner(one, here));
  if (own.type === "array" && own.items) return inner(own.items, here);
  if (!own.properties) {
    return own.additionalProperties && own.additionalProperties !== true ? inner(own.additionalProperties, here) : [];
  }
  const members = Object.entries(own.properties).map(([name, member]) => {
    const there = resolved(member) || {};
    const deeper = inner(member, here);
    const limits = bounds(member);
    return make("li", {},
      make("span", { class: "name" }, name), make("span", { class: "kind" }, kind(member) + (limits ? `, ${limits}` : "")),
      (own.required || []).includes(name) ? make("span", { class: "must" }, "required") : "",
      member.description || (there.anyOf || []).map((one) => one.description).find(Boolean)
        ? prose(member.description || there.anyOf.map((one) => one.description).find(Boolean)) : "",
      deeper.length ? make("details", { open: above.length < 2 }, make("summary", {}, `inside ${name}`), deeper) : "");
  });
  if (own.additionalProperties === true) members.push(make("li", { class: "note" }, "… and whatever else it holds"));
  return [make("div", {}, nameOf(schema) && own.description ? prose(own.description) : "", make("ul", { class: "schema" }, members))];
}

function schemaOf(schema) {
  const found = inner(schema);
  return [make("p", { class: "note" }, kind(schema)), ...found];
}

/** A block of code with a button that copies it. */
function snippet(label, text) {
  const code = make("pre", { tabindex: "0", "aria-label": label }, make("code", {}, text));
  const button = make("button", { type: "button", "aria-label": `Copy ${label}` }, "Copy");
  button.addEventListener("click", () => copy(text, code));
  return make("figure", {}, make("figcaption", {}, label, button), code);
}

async function copy(text, node) {
  try {
    await navigator.clipboard.writeText(text);
    say("Copied");
  } catch { // no clipboard here: the text is selected, so that one key copies it
    const range = document.createRange();
    range.selectNodeContents(node);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    say(document.execCommand("copy") ? "Copied" : "Selected: copy it with your keyboard");
  }
}

let silence;
function say(text) {
  place("said").textContent = text;
  clearTimeout(silence);
  silence = setTimeout(() => { place("said").textContent = ""; }, 2500);
}

/** What a request of an operation is, from its examples. */
function example(path, one) {
  const parameters = (one.parameters || []).map(resolved);
  const filled = path.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent((parameters.find((p) => p.in === "path" && p.name === name) || {}).example || name));
  const media = one.requestBody && one.requestBody.content["application/json"];
  const headers = {};
  if (media) {
    headers["content-type"] = "application/json";
    for (const p of parameters) if (p.in === "header" && p.example !== undefined) headers[p.name] = p.example;
  }
  return { url: location.origin + filled, headers, keyed: !one.security, body: media ? media.example : undefined };
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

function curl(method, asked) {
  const lines = [`curl ${method === "get" || (method === "post" && asked.body !== undefined) ? "" : `-X ${method.toUpperCase()} `}${quoted(asked.url)}`];
  if (asked.keyed) lines.push('-H "authorization: Bearer $HUB_KEY"');
  for (const [name, value] of Object.entries(asked.headers)) lines.push(`-H ${quoted(`${name}: ${value}`)}`);
  if (asked.body !== undefined) lines.push(`-d ${quoted(JSON.stringify(asked.body))}`);
  return lines.join(" \\\n  ");
}

/** A JSON value as Python writes it. */
function python(value) {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (Array.isArray(value)) return `[${value.map(python).join(", ")}]`;
  if (typeof value === "object") return `{${Object.entries(value).map(([name, one]) => `${JSON.stringify(name)}: ${python(one)}`).join(", ")}}`;
  return JSON.stringify(value);
}

function inPython(method, asked, own) {
  const head = `import os\n\nHUB = ${JSON.stringify(location.origin)}\nKEY = os.environ["HUB_KEY"]\n`;
  if (own) return `${head}\n${own}\n`;
  const headers = Object.entries(asked.headers).map(([name, value]) => `${JSON.stringify(name)}: ${JSON.stringify(value)}`);
  if (asked.keyed) headers.unshift('"authorization": f"Bearer {KEY}"');
  const start = `import json\n${asked.keyed ? "import os\n" : ""}from urllib.request import Request, urlopen\n\nHUB = ${JSON.stringify(location.origin)}\n`;
  const body = asked.body === undefined ? "" : `, json.dumps(${python(asked.body)}).encode()`;
  const path = asked.url.slice(location.origin.length);
  return `${start}${asked.keyed ? 'KEY = os.environ["HUB_KEY"]\n' : ""}
request = Request(HUB + ${JSON.stringify(path)}${body}, headers={${headers.join(", ")}}, method="${method.toUpperCase()}")
with urlopen(request) as answer:
    print(answer.read().decode())\n`;
}

function parametersOf(one) {
  const found = (one.parameters || []).map(resolved);
  if (!found.length) return "";
  const items = found.map((p) => make("li", {}, make("span", { class: "name" }, p.name), make("span", { class: "kind" }, `${p.in}, ${kind(p.schema)}`),
    p.required ? make("span", { class: "must" }, "required") : "", prose(p.description)));
  return [make("h4", {}, "Parameters"), make("ul", { class: "schema" }, items)];
}

function answersOf(one) {
  const rows = Object.entries(one.responses).map(([status, given]) => {
    const answer = resolved(given);
    const headers = Object.entries(answer.headers || {}).map(([name, header]) =>
      make("li", {}, make("span", { class: "name" }, name), prose(resolved(header).description)));
    const bodies = Object.entries(answer.content || {}).map(([media, body]) => [make("h4", {}, media), schemaOf(body.schema)]);
    const first = answer.description.startsWith("- ") ? (answer["x-codes"] || []).join(", ") : answer.description;
    return make("details", { class: "answer", open: status.startsWith("2") }, make("summary", {}, make("span", { class: "status" }, status), first),
      answer.description.startsWith("- ") ? prose(answer.description) : "",
      headers.length ? [make("h4", {}, "Headers"), make("ul", { class: "schema" }, headers)] : "", bodies);
  });
  return [make("h4", {}, "Answers"), rows];
}

function marks(one) {
  const roles = one["x-roles"];
  return make("ul", { class: "marks" },
    make("li", {}, one.security ? "no key needed" : roles ? `a key with the role ${roles.join(" or ")}` : "a hub key"),
    make("li", {}, one.operationId));
}

function fill(body, method, path, one) {
  const asked = example(path, one);
  const media = one.requestBody && one.requestBody.content["application/json"];
  body.append(...[marks(one), prose(one.description),
    one.externalDocs ? make("p", {}, make("a", { href: one.externalDocs.url, rel: "noreferrer noopener" }, "Reference of whoever defined it")) : "",
    snippet("curl", curl(method, asked)), snippet("Python", inPython(method, asked, one["x-python"])),
    parametersOf(one), media ? [make("h4", {}, "Body"), schemaOf(media.schema)] : "", answersOf(one)].flat(Infinity).filter(Boolean));
}

function operation(method, path, one) {
  const body = make("div", { class: "body" });
  const details = make("details", {}, make("summary", {}, make("h3", {},
    make("span", { class: `method ${method}` }, method.toUpperCase()), make("span", { class: "path" }, path), make("span", { class: "what" }, one.summary))), body);
  details.addEventListener("toggle", () => { if (details.open && !body.hasChildNodes()) fill(body, method, path, one); });
  const node = make("article", { id: one.operationId, "aria-label": `${method.toUpperCase()} ${path}: ${one.summary}` }, details);
  const link = make("li", {}, make("a", { href: `#${one.operationId}` }, one.summary));
  const codes = Object.values(one.responses).flatMap((given) => resolved(given)["x-codes"] || []);
  const words = [method, path, one.operationId, one.summary, one.description, one.tags.join(" "), ...codes].join(" ").toLowerCase();
  shown.push({ node, link, words });
  return { node, link };
}

function draw() {
  place("version").textContent = whole.info.version;
  place("about").append(...prose(whole.info.description));
  for (const tag of whole.tags) {
    const found = Object.entries(whole.paths).flatMap(([path, there]) => Object.keys(there).filter((method) => METHODS.includes(method) && there[method].tags[0] === tag.name)
      .map((method) => operation(method, path, there[method])));
    if (!found.length) continue;
    const id = `tag-${tag.name.toLowerCase()}`;
    place("groups").append(make("section", { "aria-labelledby": id }, make("h2", { id }, tag.name), prose(tag.description), found.map((one) => one.node)));
    place("contents").append(make("section", { "aria-label": tag.name }, make("h2", {}, tag.name), make("ul", {}, found.map((one) => one.link))));
  }
  place("refusal-rows").append(...whole["x-refusals"].map((row) => make("tr", {}, make("td", {}, make("code", {}, row.code)),
    make("td", {}, String(row.http)), make("td", {}, String(row.jsonrpc)), make("td", {}, row.meaning))));
  place("refusals").hidden = false;
}

/** Show the operations that have every word that is searched for. */
function search() {
  const words = place("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  let count = 0;
  for (const one of shown) {
    const fits = words.every((word) => one.words.includes(word));
    one.node.hidden = one.link.hidden = !fits;
    count += fits ? 1 : 0;
  }
  for (const group of document.querySelectorAll("#groups > section, #contents > section")) {
    group.hidden = !group.querySelector("article:not([hidden]), li:not([hidden])");
  }
  place("about").hidden = place("refusals").hidden = words.length > 0;
  place("found").textContent = words.length ? `${count} of ${shown.length} operations` : `${shown.length} operations`;
}

/** Open what the address names. */
function follow() {
  const name = decodeURIComponent(location.hash.slice(1));
  const one = shown.find(({ node }) => node.id === name);
  for (const { link } of shown) link.firstChild.removeAttribute("aria-current");
  if (!one) return;
  one.link.firstChild.setAttribute("aria-current", "true");
  const details = one.node.querySelector("details");
  details.open = true;
  one.node.scrollIntoView();
  details.querySelector("summary").focus({ preventScroll: true });
}

function colours() {
  const select = place("theme");
  const kept = (value) => { try { return value === undefined ? localStorage.getItem("theme") : localStorage.setItem("theme", value); } catch { return ""; } };
  const use = (value) => { if (value) document.documentElement.dataset.theme = value; else delete document.documentElement.dataset.theme; };
  select.value = ["light", "dark"].includes(kept()) ? kept() : "";
  use(select.value);
  select.addEventListener("change", () => { use(select.value); kept(select.value); });
}

function keys(event) {
  const typing = /^(input|select|textarea)$/i.test(event.target.tagName);
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    place("search").focus();
  } else if (event.key === "Escape" && event.target === place("search")) {
    place("search").value = "";
    search();
  }
}

async function start() {
  colours();
  try {
    whole = await (await fetch("openapi.json")).json();
  } catch {
    place("about").append(make("p", {}, "openapi.json could not be read from this hub. Load the page again."));
    return;
  }
  draw();
  search();
  place("search").addEventListener("input", search);
  document.addEventListener("keydown", keys);
  window.addEventListener("hashchange", follow);
  follow();
  document.documentElement.dataset.drawn = "true";
}

start();
