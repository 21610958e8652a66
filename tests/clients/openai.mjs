// The official JavaScript SDK of OpenAI, of either generation: uses everything, prints what it saw as one JSON object, in the very
// words of openai_python.py. It goes on from both.mjs.
const { default: OpenAI } = await import(which);
const { zodResponseFormat, zodTextFormat } = await import(`${which}/helpers/zod`);

const IMAGE = `data:image/png;base64,${PIXEL}`;
const named = { name: "get_weather", description: "The weather", parameters: WEATHER, strict: true };
const chatTools = [{ type: "function", function: named }];
const responsesTools = [{ type: "function", ...named }];
const weather = (given) => `${JSON.parse(given).city} ${JSON.parse(given).days}`;
const usage = (found) =>
  found && ["prompt_tokens", "completion_tokens", "input_tokens", "output_tokens"].map((name) => found[name] ?? null);
const connect = (apiKey, more) => new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries: 0, timeout: 30000, ...more });
const client = connect(key);

async function chat(model) {
  const ask = (text, more) => client.chat.completions.create({ model, messages: user(text), ...more });
  const whole = await ask("Say hello.", { max_completion_tokens: 64 });
  const chunks = await all(await ask("Say hello.", { stream: true, stream_options: { include_usage: true } }));
  const choices = chunks.flatMap((chunk) => chunk.choices);
  const bare = await all(await ask("Say hello.", { stream: true }));
  const cut = await ask("1, 2,", { max_completion_tokens: 10 });
  const looked = await ask([{ type: "text", text: "What is it?" }, { type: "image_url", image_url: { url: IMAGE } }]);
  const said = choices.map((one) => one.delta.content ?? "").join("");
  return {
    whole: [whole.choices[0].message.content, whole.choices[0].finish_reason, usage(whole.usage)],
    stream: [said, choices.at(-1).finish_reason, usage(chunks.at(-1).usage)],
    usage_unasked: bare.filter((chunk) => chunk.usage).map((chunk) => chunk.usage),
    cut: [cut.choices[0].message.content, cut.choices[0].finish_reason],
    image: looked.choices[0].message.content,
    refusal: (await ask("Do harm.")).choices[0].message.refusal,
  };
}

async function chatTalk(model, asked, streamed) {
  const messages = user(asked);
  const seen = [];
  for (;;) {
    const body = { model, messages, tools: chatTools };
    const reply = streamed ? await client.chat.completions.stream(body).finalChatCompletion() : await client.chat.completions.create(body);
    const said = reply.choices[0];
    seen.push(said.finish_reason);
    if (!said.message.tool_calls?.length) return [...seen, said.message.content];
    const calls = said.message.tool_calls.map(({ id, type, function: { name, arguments: given } }) => ({
      id,
      type,
      function: { name, arguments: given },
    }));
    messages.push({ role: "assistant", content: said.message.content, tool_calls: calls });
    for (const call of calls) messages.push({ role: "tool", tool_call_id: call.id, content: weather(call.function.arguments) });
  }
}

async function chatParsed(model) {
  const body = { model, messages: user("Ada, 36."), response_format: zodResponseFormat(Person, "Person") };
  const whole = await client.chat.completions.parse(body);
  const streamed = await client.chat.completions.stream(body).finalChatCompletion();
  return [whole, streamed].map((one) => one.choices[0].message.parsed);
}

async function responses(model) {
  const ask = (input, more) => client.responses.create({ model, input, ...more });
  const whole = await ask("Say hello.", { instructions: "You are terse." });
  const stream = client.responses.stream({ model, input: "Say hello." });
  const kinds = (await all(stream)).map((event) => event.type);
  const final = await stream.finalResponse();
  const parsed = await client.responses.parse({ model, input: "Ada, 36.", text: { format: zodTextFormat(Person, "Person") } });
  const thought = await ask("Is 91 prime?", { reasoning: { effort: "medium", summary: "auto" } });
  const refused = await ask("Do harm.");
  const parts = [{ type: "input_text", text: "What is it?" }, { type: "input_image", detail: "auto", image_url: IMAGE }];
  const cut = await ask("1, 2,", { max_output_tokens: 16 });
  const refusals = refused.output.flatMap((item) => (item.type === "message" ? item.content : [])).filter((part) => part.type === "refusal");
  return {
    whole: [whole.output_text, whole.status, usage(whole.usage)],
    stream: [final.output_text, final.status, usage(final.usage)],
    events: [kinds[0], kinds.filter((kind) => kind === "response.output_text.delta").length > 1, kinds.at(-1)],
    parsed: parsed.output_parsed,
    thought: thought.output.filter((item) => item.type === "reasoning").map((item) => item.summary.map((part) => part.text)),
    refusal: refusals.map((part) => part.refusal),
    image: (await ask([{ role: "user", content: parts }])).output_text,
    cut: [cut.status, cut.incomplete_details?.reason ?? null],
  };
}

async function responsesTalk(model, asked) {
  const input = user(asked);
  for (;;) {
    const reply = await client.responses.create({ model, input, tools: responsesTools });
    const calls = reply.output.filter((item) => item.type === "function_call");
    if (!calls.length) return reply.output_text;
    input.push(...reply.output);
    for (const call of calls) input.push({ type: "function_call_output", call_id: call.call_id, output: weather(call.arguments) });
  }
}

async function raised(ask) {
  try {
    return ["no error", await ask()];
  } catch (error) {
    const name = error.constructor.name;
    if (error.status === undefined) return [NAMES[name] ?? name];
    return [NAMES[name] ?? name, error.status, error.code ?? null, !!error.requestID && error.requestID === error.headers.get("x-request-id")];
  }
}
// Where the two languages call one thing by two names.
const NAMES = { APIError: "APIStatusError", APIConnectionTimeoutError: "APITimeoutError" };

async function errors(model) {
  const found = {};
  const ask = (by, more) => by.chat.completions.create({ model, messages: user("x"), ...more });
  for (const status of [400, 404, 413, 422, 429, 500, 529])
    found[status] = await raised(() => ask(client, { messages: user(`Fail ${status}.`) }));
  found.missing = await raised(() => ask(client, { model: "nothing" }));
  found.broken = await raised(() => ask(client, { model: 1 }));
  const stranger = connect("no-key-of-anyone");
  found.stranger = await raised(() => stranger.responses.create({ model, input: "x" }));
  found.stranger_stream = await raised(() => ask(stranger, { stream: true }));
  return found;
}

const seen = { version: VERSION };
for (const model of models)
  seen[model] = {
    chat: await chat(model),
    tools: await chatTalk(model, "Weather in Bern?", false),
    parallel: await chatTalk(model, "Weather in Bern and Rome?", false),
    parallel_streamed: await chatTalk(model, "Weather in Bern and Rome?", true),
    parsed: await chatParsed(model),
    responses: await responses(model),
    responses_tools: await responsesTalk(model, "Weather in Bern?"),
    responses_parallel: await responsesTalk(model, "Weather in Bern and Rome?"),
    errors: await errors(model),
  };
const [model] = models;
seen.others = {
  base64: (await client.embeddings.create({ model, input: ["x", "y"] })).data[1].embedding,
  float: (await client.embeddings.create({ model, input: "x", encoding_format: "float" })).data[0].embedding,
  moderation: (await client.moderations.create({ model, input: "x" })).results[0].flagged,
  completion: (await client.completions.create({ model, prompt: "x" })).choices[0].text,
  retrieved: (await client.models.retrieve(model)).id,
};
seen.models = (await all(await client.models.list())).map((one) => one.id).sort();
const { data, response } = await client.chat.completions.create({ model, messages: user("Say hello.") }).withResponse();
const known = data._request_id === response.headers.get("x-request-id");
seen.raw = [known, !!response.headers.get("hub-receipt"), response.headers.get("content-type")];
seen.timeout = await raised(() => client.chat.completions.create({ model, messages: user("Wait.") }, { timeout: 200 }));
seen.patience = await patience(connect, (by) => by.chat.completions.create({ model, messages: user("Say hello.") }));
console.log(JSON.stringify(seen));
