// Sends events to an exchange, or receives them from it:
//
//	node rabbitmq.mjs send URL EXCHANGE PREFIX < wishes.json
//	node rabbitmq.mjs receive URL EXCHANGE COUNT
//
// PREFIX is what the names of attributes begin with in headers: the SDK has no binding for AMQP, so users choose one.

import amqp from "amqplib";
import { make, seen, tell, wishes } from "./events.mjs";

const [verb, url, exchange, last] = process.argv.slice(2);
const connection = await amqp.connect(url);

if (verb === "send") {
  const channel = await connection.createConfirmChannel();
  for (const wish of await wishes()) {
    const { headers, body } = make(wish);
    const { "content-type": contentType, ...others } = headers;
    const table = {};
    for (const [name, value] of Object.entries(others)) {
      table[name.startsWith("ce-") ? last + name.slice(3) : name] = value;
    }
    channel.publish(exchange, "interop", body, { contentType, headers: table, mandatory: true, persistent: true });
  }
  await channel.waitForConfirms();
  tell({ done: true });
} else {
  const channel = await connection.createChannel();
  const { queue } = await channel.assertQueue("", { exclusive: true });
  await channel.bindQueue(queue, exchange, "#");
  let left = Number(last);
  await new Promise((resolve) => {
    channel.consume(queue, (message) => {
      const headers = {};
      for (const [name, value] of Object.entries(message.properties.headers ?? {})) {
        headers[name.replace(/^cloudEvents:/, "ce-")] = value;
      }
      if (message.properties.contentType) headers["content-type"] = message.properties.contentType;
      tell(seen(headers, message.content));
      channel.ack(message);
      if (--left === 0) resolve();
    }).then(() => tell({ ready: true }));
  });
  await channel.close();
}
await connection.close();
