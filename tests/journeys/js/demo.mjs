// A TypeScript client at the demo's virtual server; prints what it saw as one JSON object.
// Arguments: which client (v1 is @modelcontextprotocol/sdk, v2 @modelcontextprotocol/client), its mode, the door's URL, a key.
const [which, mode, url, key] = process.argv.slice(2);

const [{ Client }, { StreamableHTTPClientTransport }] = await Promise.all(
  which === "v1"
    ? [import("@modelcontextprotocol/sdk/client/index.js"), import("@modelcontextprotocol/sdk/client/streamableHttp.js")]
    : [import("@modelcontextprotocol/client"), import("@modelcontextprotocol/client")],
);
const options = which === "v1" ? {} : { versionNegotiation: { mode: mode === "pin" ? { pin: "2026-07-28" } : mode } };
const client = new Client({ name: "demo", version: "1" }, options);
await client.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers: { Authorization: `Bearer ${key}` } } }));

const call = (name, args) => client.callTool({ name, arguments: args });
const seen = {
  tools: (await client.listTools()).tools.map((tool) => tool.name),
  echo: await call("echo", { message: "hello" }),
  now: await call("now", { timezone: "UTC" }),
  refused: await call("git_commit", { repo_path: ".", message: "x" }).catch((error) => error.code),
};
await client.close();
console.log(JSON.stringify(seen));
