// Vercel's AI SDK with a tool, whole and streamed, and a typed answer, by each API it can ask a model with; prints what each came to as
// JSON. Arguments: the hub's URL, a key, and the models to ask.
const [url, apiKey, ...models] = process.argv.slice(2);

const { generateText, streamText, tool, Output, stepCountIs } = await import("ai");
const { createOpenAI } = await import("@ai-sdk/openai");
const { createAnthropic } = await import("@ai-sdk/anthropic");
const { z } = await import("zod");

const baseURL = `${url}/v1`;
const openai = createOpenAI({ baseURL, apiKey });
const anthropic = createAnthropic({ baseURL, apiKey });
const prompt = "Weather in Bern and Rome?";

async function run(model) {
  const called = [];
  const get_weather = tool({
    description: "The weather",
    inputSchema: z.object({ city: z.string(), days: z.int() }),
    execute: async ({ city, days }) => (called.push(city), `${city} ${days}`),
  });
  const asked = { model, prompt, tools: { get_weather }, stopWhen: stepCountIs(5), maxRetries: 0 };
  const whole = await generateText(asked);
  const streamed = streamText({ ...asked, onError: ({ error }) => { throw error; } });
  let deltas = "";
  for await (const delta of streamed.textStream) deltas += delta;
  const schema = z.object({ name: z.string(), age: z.int() });
  // What it tells by the names of Claude models, and cannot by an alias.
  const providerOptions = { anthropic: { structuredOutputMode: "outputFormat" } };
  const person = await generateText({ model, prompt: "Ada, 36.", output: Output.object({ schema }), maxRetries: 0, providerOptions });
  return {
    whole: whole.text,
    streamed: [await streamed.text, deltas],
    called: called.sort(),
    tokens: whole.totalUsage.totalTokens,
    person: person.output,
  };
}

const seen = {};
for (const name of models) {
  seen[`vercel-chat ${name}`] = await run(openai.chat(name));
  seen[`vercel-responses ${name}`] = await run(openai.responses(name));
  seen[`vercel-messages ${name}`] = await run(anthropic(name));
}
console.log(JSON.stringify(seen));
