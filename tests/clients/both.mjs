// What the programs of both families begin with (tests/journeys/test_sdks.py puts this before each). Arguments: which package, the hub's
// URL, a key, a key that is let in slowly, a key whose money is spent, and the models to ask, one after the other.
const [which, url, key, slow, spent, ...models] = process.argv.slice(2);

const { VERSION } = await import(`${which}/version`);
const { z } = await import("zod");

const PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
const Person = z.object({ name: z.string(), age: z.int() });
const WEATHER = {
  type: "object",
  properties: { city: { type: "string" }, days: { type: "integer" } },
  required: ["city", "days"],
  additionalProperties: false,
};
const user = (content) => [{ role: "user", content }];

async function all(stream) {
  const found = [];
  for await (const one of stream) found.push(one);
  return found;
}

// How often it asks again: where waiting helps until it is let in, where it is pointless not once. `ask(client)` asks once.
async function patience(connect, ask) {
  let tries = 0;
  const counting = (...given) => (tries++, fetch(...given));
  const waiting = connect(slow, { maxRetries: 5, fetch: counting });
  for (let turn = 0; turn < 2; turn++) await ask(waiting);
  const poor = connect(spent, { maxRetries: 5 });
  await ask(poor);
  return { waited: tries > 2, spent: await raised(() => ask(poor)) };
}

