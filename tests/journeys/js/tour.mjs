// A TypeScript client at one door: lists and uses everything, prints what it saw as one JSON object.
// Arguments: which client (v1 is @modelcontextprotocol/sdk, v2 @modelcontextprotocol/client), its mode, the door's URL, a key, a mark.
const [which, mode, url, key, mark] = process.argv.slice(2);

const requestInit = { headers: { Authorization: `Bearer ${key}` } };
const info = { name: "tour", version: "1" };
const seen = { progress: [] };

async function connect() {
  if (which === "v1") {
    const { Client } = await import("@modelcontextprotocol/sdk/client/index.js");
    const { StreamableHTTPClientTransport } = await import("@modelcontextprotocol/sdk/client/streamableHttp.js");
    const { ToolListChangedNotificationSchema } = await import("@modelcontextprotocol/sdk/types.js");
    const client = new Client(info);
    const changed = new Promise((done) => client.setNotificationHandler(ToolListChangedNotificationSchema, () => done(true)));
    const transport = new StreamableHTTPClientTransport(new URL(url), { requestInit });
    await client.connect(transport);
    seen.version = transport.protocolVersion;
    return { client, changed, call: (params, options) => client.callTool(params, undefined, options), end: () => transport.terminateSession() };
  }
  const { Client, StreamableHTTPClientTransport } = await import("@modelcontextprotocol/client");
  let done;
  const changed = new Promise((resolve) => (done = resolve));
  const client = new Client(info, {
    versionNegotiation: { mode: mode === "pin" ? { pin: "2026-07-28" } : mode },
    listChanged: { tools: { autoRefresh: false, debounceMs: 0, onChanged: () => done(true) } },
  });
  await client.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit }));
  seen.version = client.getNegotiatedProtocolVersion();
  return { client, changed, call: (params, options) => client.callTool(params, options), end: async () => {} };
}

const { client, changed, call, end } = await connect();
seen.instructions = client.getInstructions();
seen.tools = (await client.listTools()).tools.map((tool) => tool.name);
seen.echo = await call({ name: "echo", arguments: { text: "hello \u{1F600}" } });
seen.add = await call({ name: "add", arguments: { a: 1, b: 2.5 } });
seen.fail = await call({ name: "fail", arguments: {} });
seen.error = await call({ name: "error", arguments: { code: -32000 } }).catch((error) => ({ code: error.code, data: error.data }));
seen.unknown = await call({ name: "none", arguments: {} }).catch((error) => ({ code: error.code }));
seen.prompts = (await client.listPrompts()).prompts.map((prompt) => prompt.name);
seen.prompt = await client.getPrompt({ name: "greet", arguments: { who: "us" } });
seen.resources = (await client.listResources()).resources.map((resource) => resource.uri);
seen.templates = (await client.listResourceTemplates()).resourceTemplates.map((template) => template.uriTemplate);
seen.read = await client.readResource({ uri: "page://7" });
await call({ name: "count", arguments: { steps: 10 } }, { onprogress: (step) => seen.progress.push(step.progress) });

const stop = new AbortController();
const given = call({ name: "wait", arguments: { mark } }, { signal: stop.signal }).catch((error) => String(error.name));
setTimeout(() => stop.abort("enough"), 400);
seen.given = await given;

await call({ name: "grow", arguments: { name: `new-${mark}` } });
seen.changed = await Promise.race([changed, new Promise((late) => setTimeout(late, 10000, false).unref())]);

await end();
await client.close();
console.log(JSON.stringify(seen));
