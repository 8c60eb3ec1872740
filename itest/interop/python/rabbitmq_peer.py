"""Sends events to an exchange, or receives them from it:

    python3 rabbitmq_peer.py send URL EXCHANGE PREFIX < wishes.json
    python3 rabbitmq_peer.py receive URL EXCHANGE COUNT

PREFIX chooses between the SDK's bindings: "cloudEvents_" is that of AMQP, "ce-" that of RabbitMQ.
"""

import asyncio
import base64
import sys

import aio_pika
from cloudevents.core.bindings import amqp, rabbitmq

from events import FORMAT, event_of, seen, tell, texts, wishes


def message_of(wish, prefix):
    extra = wish.get("headers", {})
    if wish["mode"] == "raw":
        return aio_pika.Message(base64.b64decode(wish.get("base64") or ""), headers=extra)
    event = event_of(wish)
    structured = wish["mode"] == "structured"
    if prefix == "ce-":
        m = (rabbitmq.to_structured if structured else rabbitmq.to_binary)(event, FORMAT)
        return aio_pika.Message(m.body, headers={**m.headers, **extra}, content_type=m.content_type)
    m = (amqp.to_structured if structured else amqp.to_binary)(event, FORMAT)
    return aio_pika.Message(
        m.application_data,
        headers={**m.application_properties, **extra},
        content_type=m.properties.get("content-type"),
    )


async def send(connection, exchange, prefix):
    channel = await connection.channel(publisher_confirms=True)
    target = await channel.get_exchange(exchange)
    for wish in wishes():
        await target.publish(message_of(wish, prefix), routing_key="interop", mandatory=True)
    tell({"done": True})


async def receive(connection, exchange, count):
    channel = await connection.channel()
    queue = await channel.declare_queue(exclusive=True)
    await queue.bind(exchange, "#")
    left = int(count)
    async with queue.iterator() as messages:
        tell({"ready": True})
        async for message in messages:
            async with message.process():
                headers = dict(message.headers)
                properties = {"content-type": message.content_type} if message.content_type else {}
                m = amqp.AMQPMessage(properties, headers, message.body)
                tell(seen(amqp.from_amqp(m, FORMAT), texts(headers)))
            left -= 1
            if left == 0:
                return


async def main():
    verb, url, exchange, last = sys.argv[1:5]
    connection = await aio_pika.connect(url)
    async with connection:
        await {"send": send, "receive": receive}[verb](connection, exchange, last)


asyncio.run(main())
