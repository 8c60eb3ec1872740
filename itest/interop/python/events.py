"""Events as the CloudEvents SDK makes and reads them, and as JSON between these programs and the tests."""

import base64
import json
import sys
from datetime import datetime

from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

FORMAT = JSONFormat()


def event_of(wish):
    """The SDK's event of what a test asks for."""
    attributes = dict(wish["attributes"])
    attributes["specversion"] = "1.0"
    attributes["time"] = datetime.fromisoformat(attributes["time"].replace("Z", "+00:00"))
    data = base64.b64decode(wish["base64"]) if "base64" in wish else wish.get("json")
    return CloudEvent(attributes, data)


def wishes():
    """What a test asks for, from the standard input."""
    return json.load(sys.stdin)


def tell(what):
    """Writes one line to the test."""
    print(json.dumps(what, default=plain), flush=True)


def plain(value):
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(type(value))


def seen(event, headers):
    """What the SDK understands of a message, and what came beside it."""
    data = event.get_data()
    what = {"attributes": event.get_attributes(), "headers": headers}
    if isinstance(data, bytes):
        what["bytes"] = base64.b64encode(data).decode()
    elif data is not None:
        what["data"] = data
    return what


def texts(headers):
    """The headers that are texts."""
    return {name: value for name, value in (headers or {}).items() if isinstance(value, str)}
