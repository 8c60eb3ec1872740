"""Sends events to a topic, or receives what a topic gets:

    python3 kafka_peer.py send BROKERS TOPIC < wishes.json
    python3 kafka_peer.py receive BROKERS TOPIC COUNT
"""

import base64
import sys

from cloudevents.core.bindings import kafka
from confluent_kafka import Consumer, KafkaException, Producer

from events import FORMAT, event_of, seen, tell, wishes


def message_of(wish):
    extra = {name: str(value).encode() for name, value in wish.get("headers", {}).items()}
    if wish["mode"] == "raw":
        return None, base64.b64decode(wish["base64"]) if "base64" in wish else None, extra
    m = (kafka.to_structured if wish["mode"] == "structured" else kafka.to_binary)(event_of(wish), FORMAT)
    return m.key, m.value, {**m.headers, **extra}


def send(brokers, topic):
    failures = []
    producer = Producer({"bootstrap.servers": brokers, "enable.idempotence": True})
    for wish in wishes():
        key, value, headers = message_of(wish)
        producer.produce(topic, key=key, value=value, headers=list(headers.items()), on_delivery=lambda err, _: err and failures.append(err))
    left = producer.flush(60)
    if left or failures:
        sys.exit(f"{left} without an answer, refused: {failures}")
    tell({"done": True})


def receive(brokers, topic, count):
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": "interop-python", "auto.offset.reset": "earliest"})
    consumer.subscribe([topic], on_assign=lambda *_: tell({"ready": True}))
    left = int(count)
    while left > 0:
        message = consumer.poll(1)
        if message is None:
            continue
        if message.error():
            raise KafkaException(message.error())
        headers = dict(message.headers() or [])
        event = kafka.from_kafka(kafka.KafkaMessage(headers, message.key(), message.value() or b""), FORMAT)
        tell(seen(event, {name: value.decode() for name, value in headers.items()}))
        left -= 1
    consumer.close()


verb, brokers, topic = sys.argv[1:4]
if verb == "send":
    send(brokers, topic)
else:
    receive(brokers, topic, sys.argv[4])
