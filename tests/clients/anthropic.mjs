// The official JavaScript SDK of Anthropic, of either generation: uses everything, prints what it saw as one JSON object, in the very
// words of anthropic_python.py. It goes on from both.mjs.
const { default: Anthropic } = await import(which);
const { zodOutputFormat } = await import(`${which}/helpers/zod`);
const { betaZodTool } = await import(`${which}/helpers/beta/zod`);

const tools = [{ name: "get_weather", description: "The weather", input_schema: WEATHER }];
const thinking = { type: "enabled", budget_tokens: 2000 };
const of = (message, type) => message.content.filter((block) => block.type === type);
const told = (message) => [of(message, "text").map((block) => block.text).join(""), message.stop_reason];
const connect = (apiKey, more) => new Anthropic({ baseURL: url, apiKey, maxRetries: 0, timeout: 30000, ...more });
const client = connect(key);

async function messages(model) {
  const ask = (text, more) => client.messages.create({ model, messages: user(text), max_tokens: 4096, ...more });
  const whole = await ask("Say hello.", { system: "You are terse." });
  const raw = (await all(await ask("Say hello.", { stream: true }))).map((event) => event.type);
  const texts = [];
  const stream = client.messages.stream({ model, messages: user("Say hello."), max_tokens: 64 }).on("text", (text) => texts.push(text));
  const final = await stream.finalMessage();
  const question = { model, messages: user("Is 91 prime?"), max_tokens: 4096, thinking };
  const thought = [await client.messages.create(question), await client.messages.stream(question).finalMessage()];
  const image = { type: "image", source: { type: "base64", media_type: "image/png", data: PIXEL } };
  const counted = model === "wise" ? (await client.messages.countTokens({ model, messages: user("Say hello.") })).input_tokens : null;
  return {
    whole: [...told(whole), whole.usage.input_tokens, whole.usage.output_tokens],
    events: [...new Set(raw)].sort(),
    order: [raw[0], raw.at(-2), raw.at(-1)],
    stream: [texts.join(""), ...told(final), final.usage.output_tokens],
    thought: thought.map((one) => of(one, "thinking").map((block) => block.thinking)),
    signed: thought.map((one) => of(one, "thinking").every((block) => block.signature)),
    refusal: (await ask("Do harm.")).stop_reason,
    cut: told(await ask("1, 2,")),
    image: told(await ask([{ type: "text", text: "What is it?" }, image]))[0],
    counted,
  };
}

async function talk(model, asked, streamed) {
  const said = user(asked);
  const seen = [];
  for (;;) {
    const body = { model, messages: said, max_tokens: 1024, tools };
    const reply = streamed ? await client.messages.stream(body).finalMessage() : await client.messages.create(body);
    seen.push(reply.stop_reason);
    const uses = of(reply, "tool_use");
    if (!uses.length) return [...seen, told(reply)[0]];
    const results = uses.map((use) => ({ type: "tool_result", tool_use_id: use.id, content: `${use.input.city} ${use.input.days}` }));
    said.push({ role: "assistant", content: reply.content }, ...user(results));
  }
}

async function parsed(model) {
  const body = { model, messages: user("Ada, 36."), max_tokens: 1024, output_config: { format: zodOutputFormat(Person) } };
  const streamed = await client.messages.stream(body).finalMessage();
  return [(await client.messages.parse(body)).parsed_output, streamed.parsed_output];
}

// The SDK's own loop over tools, which asks the beta of the API.
async function runner(model) {
  const inputSchema = z.object({ city: z.string(), days: z.int() });
  const run = async ({ city, days }) => `${city} ${days}`;
  const weather = betaZodTool({ name: "get_weather", description: "The weather", inputSchema, run });
  const body = { model, messages: user("Weather in Bern and Rome?"), max_tokens: 1024, tools: [weather] };
  return told(await client.beta.messages.toolRunner(body).runUntilDone());
}

async function raised(ask) {
  try {
    return ["no error", await ask()];
  } catch (error) {
    const name = NAMES[error.constructor.name] ?? error.constructor.name;
    if (error.status === undefined) return [name];
    return [name, error.status, error.error.error.type, !!error.requestID && error.requestID === error.headers.get("request-id")];
  }
}
// Where the two languages call one thing by two names.
const NAMES = { APIConnectionTimeoutError: "APITimeoutError" };

async function errors(model) {
  const ask = (by, more) => raised(() => by.messages.create({ model, messages: user("x"), max_tokens: 9, ...more }));
  const found = {};
  for (const status of [400, 404, 413, 422, 429, 500, 529]) found[status] = await ask(client, { messages: user(`Fail ${status}.`) });
  found.missing = await ask(client, { model: "nothing" });
  found.broken = await ask(client, { model: 1 });
  const stranger = connect("no-key-of-anyone");
  found.stranger = await ask(stranger);
  found.stranger_stream = await ask(stranger, { stream: true });
  return found;
}

const seen = { version: VERSION };
for (const model of models)
  seen[model] = {
    messages: await messages(model),
    tools: await talk(model, "Weather in Bern?", false),
    parallel: await talk(model, "Weather in Bern and Rome?", false),
    parallel_streamed: await talk(model, "Weather in Bern and Rome?", true),
    parsed: await parsed(model),
    runner: await runner(model),
    errors: await errors(model),
  };
const [model] = models;
const hello = { model, messages: user("Say hello."), max_tokens: 9 };
seen.models = [(await all(await client.models.list())).map((one) => one.id).sort(), (await client.models.retrieve(model)).id];
const { data, response } = await client.messages.create(hello).withResponse();
const known = data._request_id === response.headers.get("request-id");
seen.raw = [known, !!response.headers.get("hub-receipt"), response.headers.get("content-type")];
seen.timeout = await raised(() => client.messages.create({ ...hello, messages: user("Wait.") }, { timeout: 200 }));
seen.bearer = told(await connect(null, { authToken: key }).messages.create(hello))[0];
seen.patience = await patience(connect, (by) => by.messages.create({ model, messages: user("Say hello."), max_tokens: 9 }));
console.log(JSON.stringify(seen));
