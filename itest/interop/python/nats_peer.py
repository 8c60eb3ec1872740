"""Sends events to a subject of a stream, or receives what a stream gets:

    python3 nats_peer.py send URL SUBJECT < wishes.json
    python3 nats_peer.py receive URL STREAM COUNT

The SDK has no binding for NATS; that of HTTP has the same prefix and encoding.
"""

import asyncio
import base64
import sys

import nats
from cloudevents.core.bindings import http

from events import FORMAT, event_of, seen, tell, wishes


def message_of(wish):
    extra = {name: str(value) for name, value in wish.get("headers", {}).items()}
    if wish["mode"] == "raw":
        return base64.b64decode(wish.get("base64") or ""), extra
    m = (http.to_structured if wish["mode"] == "structured" else http.to_binary)(event_of(wish), FORMAT)
    return m.body, {**m.headers, **extra}


async def send(js, subject):
    for wish in wishes():
        body, headers = message_of(wish)
        await js.publish(subject, body, headers=headers)
    tell({"done": True})


async def receive(js, stream, count):
    subscription = await js.subscribe(stream + ".*", ordered_consumer=True)
    tell({"ready": True})
    for _ in range(int(count)):
        message = await subscription.next_msg(timeout=120)
        headers = dict(message.headers or {})
        tell(seen(http.from_http(http.HTTPMessage(headers, message.data), FORMAT), headers))


async def main():
    verb, url, where = sys.argv[1:4]
    connection = await nats.connect(url)
    js = connection.jetstream()
    if verb == "send":
        await send(js, where)
    else:
        await receive(js, where, sys.argv[4])
    await connection.close()


asyncio.run(main())
