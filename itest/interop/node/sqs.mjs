// Sends events to a queue, or receives what a queue gets:
//
//	node sqs.mjs send ENDPOINT QUEUE < wishes.json
//	node sqs.mjs receive ENDPOINT QUEUE COUNT
//
// The SDK has no binding for SQS: a body is text, and what HTTP has in headers is in message attributes, ten at most.

import { DeleteMessageCommand, GetQueueUrlCommand, ReceiveMessageCommand, SendMessageCommand, SQSClient } from "@aws-sdk/client-sqs";
import { make, seen, tell, wishes } from "./events.mjs";

const [verb, endpoint, queue, count] = process.argv.slice(2);
const client = new SQSClient({ endpoint, region: "eu-central-1", credentials: { accessKeyId: "interop", secretAccessKey: "interop" } });
const { QueueUrl } = await client.send(new GetQueueUrlCommand({ QueueName: queue }));

if (verb === "send") {
  let number = 0;
  for (const wish of await wishes()) {
    const { headers, body } = make(wish);
    const MessageAttributes = {};
    for (const [name, value] of Object.entries(headers)) {
      MessageAttributes[name] = { DataType: "String", StringValue: String(value) };
    }
    const id = String(++number);
    await client.send(new SendMessageCommand({ QueueUrl, MessageBody: body.toString(), MessageAttributes, MessageGroupId: id, MessageDeduplicationId: id }));
  }
  tell({ done: true });
} else {
  tell({ ready: true });
  for (let left = Number(count); left > 0; ) {
    const { Messages } = await client.send(new ReceiveMessageCommand({ QueueUrl, MaxNumberOfMessages: 10, WaitTimeSeconds: 1, MessageAttributeNames: ["All"] }));
    for (const message of Messages ?? []) {
      const headers = {};
      for (const [name, { StringValue }] of Object.entries(message.MessageAttributes ?? {})) headers[name] = StringValue;
      tell(seen(headers, Buffer.from(message.Body)));
      await client.send(new DeleteMessageCommand({ QueueUrl, ReceiptHandle: message.ReceiptHandle }));
      left--;
    }
  }
}
client.destroy();
