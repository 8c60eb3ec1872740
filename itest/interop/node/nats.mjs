// Sends events to a subject of a stream, or receives what a subject gets:
//
//	node nats.mjs send URL SUBJECT < wishes.json
//	node nats.mjs receive URL STREAM COUNT

import { connect, headers as newHeaders } from "@nats-io/transport-node";
import { jetstream } from "@nats-io/jetstream";
import { make, seen, tell, wishes } from "./events.mjs";

const [verb, servers, where, count] = process.argv.slice(2);
const connection = await connect({ servers });
const js = jetstream(connection);

if (verb === "send") {
  for (const wish of await wishes()) {
    const { headers, body } = make(wish);
    const h = newHeaders();
    for (const [name, value] of Object.entries(headers)) h.set(name, String(value));
    await js.publish(where, body, { headers: h });
  }
  tell({ done: true });
} else {
  const consumer = await js.consumers.get(where);
  const messages = await consumer.consume();
  tell({ ready: true });
  let left = Number(count);
  for await (const message of messages) {
    const headers = {};
    for (const [name, values] of message.headers ?? []) headers[name] = values[0];
    tell(seen(headers, Buffer.from(message.data)));
    if (--left === 0) break;
  }
}
await connection.close();
