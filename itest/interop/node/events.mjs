// Events as the CloudEvents SDK makes and reads them, and as JSON between these programs and the tests.

import { CloudEvent, HTTP } from "cloudevents";

// make turns what a test asks for into headers and a body. "raw" goes out as it is, past the SDK.
export function make(wish) {
  if (wish.mode === "raw") {
    return { headers: wish.headers ?? {}, body: Buffer.from(wish.base64 ?? "", "base64") };
  }
  let data = wish.json;
  if (wish.base64 !== undefined) {
    data = new Uint8Array(Buffer.from(wish.base64, "base64"));
  }
  const event = new CloudEvent({ ...wish.attributes, data });
  const message = wish.mode === "structured" ? HTTP.structured(event) : HTTP.binary(event);
  const body = message.body === undefined ? Buffer.alloc(0) : Buffer.from(message.body);
  return { headers: { ...message.headers, ...wish.headers }, body };
}

// seen is what the SDK understands of a message, and what came beside it. In binary mode the body is the data.
export function seen(headers, body) {
  const structured = String(headers["content-type"] ?? "").startsWith("application/cloudevents");
  const event = HTTP.toEvent({ headers, body: structured || body.length > 0 ? body.toString() : undefined });
  const attributes = {};
  for (const [name, value] of Object.entries(event)) {
    if (name !== "data" && name !== "data_base64" && value !== undefined) attributes[name] = value;
  }
  attributes.time = event.time; // which is no property of its own
  if (!structured) {
    return { attributes, bytes: body.toString("base64"), headers };
  }
  const data = event.data;
  if (ArrayBuffer.isView(data)) {
    return { attributes, bytes: Buffer.from(data).toString("base64"), headers };
  }
  return { attributes, data, headers };
}

// wishes reads what a test asks for from the standard input.
export async function wishes() {
  const chunks = [];
  for await (const chunk of process.stdin) chunks.push(chunk);
  return JSON.parse(Buffer.concat(chunks).toString());
}

// tell writes one line to the test.
export function tell(what) {
  process.stdout.write(JSON.stringify(what) + "\n");
}
