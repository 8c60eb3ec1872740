// Sends events to a topic, or receives what a topic gets:
//
//	node kafka.mjs send BROKERS TOPIC < wishes.json
//	node kafka.mjs receive BROKERS TOPIC COUNT

import kafkajs from "kafkajs";
import { CloudEvent, Kafka as Binding } from "cloudevents";
import { tell, wishes } from "./events.mjs";

const [verb, brokers, topic, count] = process.argv.slice(2);
const client = new kafkajs.Kafka({ brokers: brokers.split(","), logLevel: kafkajs.logLevel.NOTHING });

// make turns what a test asks for into a message. "raw" goes out as it is, past the SDK.
function make(wish) {
  let { headers, value, key } = { headers: {}, value: wish.base64 === undefined ? null : Buffer.from(wish.base64, "base64"), key: undefined };
  if (wish.mode !== "raw") {
    const data = wish.json ?? new Uint8Array(value);
    const event = new CloudEvent({ ...wish.attributes, data });
    const message = wish.mode === "structured" ? Binding.structured(event) : Binding.binary(event);
    headers = message.headers;
    key = message.key;
    value = typeof message.value === "object" && !ArrayBuffer.isView(message.value) ? JSON.stringify(message.value) : message.value;
    if (ArrayBuffer.isView(value)) value = Buffer.from(value);
  }
  const texts = {};
  for (const [name, v] of Object.entries({ ...headers, ...wish.headers })) {
    if (v !== undefined) texts[name] = String(v);
  }
  return { key, value, headers: texts };
}

// seen is what the SDK understands of a message, and what came beside it.
function seen(message) {
  const headers = {};
  for (const [name, v] of Object.entries(message.headers ?? {})) headers[name] = v.toString();
  const structured = (headers["content-type"] ?? "").startsWith("application/cloudevents");
  const value = message.value ?? Buffer.alloc(0);
  const event = Binding.toEvent({ headers, key: message.key?.toString() || undefined, value: structured ? value.toString() : value });
  const attributes = {};
  for (const [name, v] of Object.entries(event)) {
    if (name !== "data" && name !== "data_base64" && v !== undefined) attributes[name] = v;
  }
  attributes.time = event.time;
  if (!structured) return { attributes, bytes: value.toString("base64"), headers };
  if (ArrayBuffer.isView(event.data)) return { attributes, bytes: Buffer.from(event.data).toString("base64"), headers };
  return { attributes, data: event.data, headers };
}

if (verb === "send") {
  const producer = client.producer({ createPartitioner: kafkajs.Partitioners.DefaultPartitioner });
  await producer.connect();
  await producer.send({ topic, acks: -1, messages: (await wishes()).map(make) });
  tell({ done: true });
  await producer.disconnect();
} else {
  const consumer = client.consumer({ groupId: "interop-node" });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  let left = Number(count);
  await new Promise((resolve, reject) => {
    consumer.on(consumer.events.GROUP_JOIN, () => tell({ ready: true }));
    consumer.on(consumer.events.CRASH, ({ payload }) => reject(payload.error));
    consumer.run({
      eachMessage: async ({ message }) => {
        try {
          tell(seen(message));
        } catch (error) {
          reject(error); // which the client would try again
          return;
        }
        if (--left === 0) resolve();
      },
    });
  });
  await consumer.disconnect();
}
