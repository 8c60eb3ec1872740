// Asks a responder, or is one, as docs/protocol.md says:
//
//	node requests.mjs ask URL DESTINATION [KEYS] < questions.json
//	node requests.mjs answer URL DESTINATION [KEYS]
//
// KEYS is JSON: "sign" has the seeds of keys by their ids, of which a question names one in "signer" and a responder has one;
// "accept" has public keys with their owners by their ids. With it both sides sign and verify.
//
// Each line that it writes has what came of one question, or of one request, in "data".

import { randomUUID } from "node:crypto";
import { connect, createInbox, headers as newHeaders } from "@nats-io/transport-node";
import { tell, wishes } from "./events.mjs";
import { privateKey, publicKey, sign, verify } from "./signature.mjs";

const [verb, servers, destination, keys] = process.argv.slice(2);
const signers = {};
let accepted;
if (keys) {
  const given = JSON.parse(keys);
  for (const [id, seed] of Object.entries(given.sign)) signers[id] = { id, key: privateKey(seed) };
  accepted = {};
  for (const [id, k] of Object.entries(given.accept)) accepted[id] = { owner: k.owner, key: publicKey(k.key) };
}

// bare are the kinds without attributes.
const bare = /^(cancel|credit|alive)\//;

// signable has what of a message is signed: its attributes, its own headers, its body, and what it says of the call.
function signable(pairs, data) {
  const message = { attributes: {}, headers: {} };
  const call = {};
  for (const [name, value] of pairs) {
    const lower = name.toLowerCase();
    if (lower.startsWith("sixfold-")) call[lower.slice("sixfold-".length)] ??= value;
    else if (lower.startsWith("ce-")) message.attributes[lower.slice(3)] ??= decodeURIComponent(value);
    else message.headers[name] ??= value;
  }
  for (const pair of (message.attributes.sixfoldheaders ?? "").split("&").filter(Boolean)) {
    const [name, value] = pair.split("=").map(decodeURIComponent);
    message.headers[name] = value;
  }
  if (bare.test(call.protocol)) return { message: {}, call };
  if (data?.length > 0 || message.attributes.sixfoldbody === "empty") message.body = Buffer.from(data ?? "");
  return { message, call };
}

// signed adds a signature to the headers of what is sent.
function signed(signer, values, data, audience) {
  if (!signer) return values;
  const all = { ...values };
  if (!data?.length && !bare.test(all["sixfold-protocol"])) all["ce-sixfoldbody"] ??= "none";
  const pairs = Object.entries(all).filter(([, value]) => value !== undefined && value !== "").map(([name, value]) => [name, String(value)]);
  const { message, call } = signable(pairs, data);
  return { ...all, "sixfold-signature": sign(signer, message, audience, call) };
}

// issuer is who has signed what came; nobody has to without KEYS.
function issuer(came, audience) {
  if (!accepted) return "anybody";
  const pairs = [];
  for (const [name, values] of came.headers ?? []) pairs.push([name, values[0]]);
  const { message, call } = signable(pairs, came.data);
  try {
    return verify(accepted, message, audience, call.signature, call);
  } catch {
    return undefined;
  }
}
const connection = await connect({ servers });
const statuses = new Set(["ok", "internal", "malformed", "unavailable", "unsupported", "expired", "unauthorised"]);

const mark = "SIXFOLD/1.0\r\n";

// opened has the headers of a message as pairs, and its body: they are headers of NATS, or lines in front of the body, in a frame.
function opened(message) {
  const all = { subject: message.subject, reply: message.reply, code: message.headers?.code, headers: [...(message.headers ?? [])], data: message.data, framed: false };
  const text = Buffer.from(message.data).toString("latin1");
  const end = text.indexOf("\r\n\r\n");
  if (!text.startsWith(mark) || end < mark.length || message.headers?.get("sixfold-protocol")) return all;
  all.framed = true;
  all.data = message.data.subarray(end + 4);
  all.headers = text.slice(mark.length, end).split("\r\n").map((line) => {
    const colon = line.indexOf(":");
    return [line.slice(0, colon), [line.slice(colon + 1).trimStart()]];
  });
  const h = read(all);
  const given = (name, value) => {
    if (h[name] === undefined) all.headers.push([name, [(h[name] = value)]]);
  };
  if (Object.keys(h).some((name) => name.startsWith("ce-"))) {
    given("ce-specversion", "1.0");
    given("ce-id", h["sixfold-request"]);
  }
  return all;
}

// post sends headers and a body in one form or the other. What a frame may leave out is left out.
function post(framed, subject, reply, values, body) {
  const options = reply ? { reply } : {};
  if (!framed) {
    connection.publish(subject, body, { ...options, headers: write(values) });
    return;
  }
  let head = mark;
  for (const [name, value] of Object.entries(values)) {
    if (value !== undefined && value !== "" && name !== "ce-specversion" && !(name === "ce-id" && value === values["sixfold-request"])) head += name + ": " + value + "\r\n";
  }
  connection.publish(subject, Buffer.concat([Buffer.from(head + "\r\n", "latin1"), Buffer.from(body ?? "")]), options);
}

// read makes an object of headers, with names in lower case. Of one that came twice the first counts.
function read(message) {
  const all = {};
  for (const [name, values] of message.headers ?? []) all[name.toLowerCase()] ??= values[0];
  return all;
}

function write(values) {
  const h = newHeaders();
  for (const [name, value] of Object.entries(values)) {
    if (value !== undefined && value !== "") h.set(name, String(value));
  }
  return h;
}

// parse splits "request/1" into its kind and version.
function parse(protocol) {
  const found = /^(request|reply|cancel|scatter|item|credit|alive)\/(\d{1,9})$/.exec(protocol ?? "");
  return found ? { kind: found[1], version: Number(found[2]), written: found[2] } : undefined;
}

const isID = (id) => /^[\x21-\x7e]{1,255}$/.test(id ?? "");
const whole = (h) => h["ce-specversion"] === "1.0" && h["ce-id"] && h["ce-source"] && h["ce-type"];

// A client: calls that wait, by the ids of their requests.
class Client {
  constructor() {
    this.inbox = createInbox();
    this.calls = new Map();
    this.ignored = 0;
    this.subscription = connection.subscribe(this.inbox + ".*", { callback: (_, message) => this.take(opened(message)) });
  }

  take(message) {
    const h = read(message);
    if (message.code === 503 && message.data.length === 0 && !h["sixfold-protocol"]) {
      const id = message.subject.slice(this.inbox.length + 1);
      this.calls.get(id)?.end({ status: "no responder" });
      return;
    }
    const call = this.calls.get(h["sixfold-request"]);
    const protocol = parse(h["sixfold-protocol"]);
    if (call?.flow && ["reply", "item", "alive"].includes(protocol?.kind)) {
      if (protocol.version !== 1 || !issuer(message, h["sixfold-request"]) || !call.flow(protocol.kind, h, message)) this.ignored++;
      return;
    }
    const status = h["sixfold-status"];
    const type = status === "ok" ? call?.type + ".reply" : "sixfold.fault";
    if (!call || protocol?.kind !== "reply" || protocol.version !== call.version || !whole(h) || !statuses.has(status) || h["ce-type"] !== type || !issuer(message, h["sixfold-request"])) {
      this.ignored++;
      return;
    }
    const text = new TextDecoder().decode(message.data);
    call.end({ status, versions: h["sixfold-versions"], body: status === "ok" && text ? JSON.parse(text) : undefined, length: message.data.length });
  }

  ask({ type, body, raw, to = destination, timeout = 60_000, version = 1, attributes = {}, headers = {}, cancelAfter, signer, framed }) {
    const id = randomUUID();
    const reply = this.inbox + "." + id;
    return new Promise((resolve) => {
      let timer, cancel;
      const end = (outcome) => {
        clearTimeout(timer);
        clearTimeout(cancel);
        this.calls.delete(id);
        resolve({ id, ...outcome });
      };
      const giveUp = (status) => {
        post(framed, "sixfold.cancel." + to, reply, signed(signers[signer], { "sixfold-protocol": "cancel/1", "sixfold-request": id }, undefined, to));
        end({ status });
      };
      timer = setTimeout(giveUp, timeout, "timeout");
      if (cancelAfter) cancel = setTimeout(giveUp, cancelAfter, "cancelled");
      this.calls.set(id, { type, version, end });
      const h = {
        "sixfold-protocol": "request/" + version, "sixfold-request": id, "sixfold-timeout": timeout,
        "ce-specversion": "1.0", "ce-id": framed ? id : randomUUID(), "ce-source": "/node", "ce-type": type, "ce-datacontenttype": "application/json",
        "ce-expirytime": new Date(Date.now() + timeout).toISOString(),
      };
      for (const [name, value] of Object.entries(attributes)) h["ce-" + name] = value;
      const data = raw ?? JSON.stringify(body);
      post(framed, "sixfold.request." + to, reply, signed(signers[signer], { ...h, ...headers }, data, to), data);
    });
  }
}

// number reads a number of items.
const number = (h) => (/^\d{1,9}$/.test(h["sixfold-number"] ?? "") ? Number(h["sixfold-number"]) : undefined);

// parsed is the body of an answer or an item.
function parsed(message) {
  const text = new TextDecoder().decode(message.data);
  return text ? JSON.parse(text) : undefined;
}

const every = 15_000;
const silence = 50_000;

// flow asks with headers of its own, and tells how that ended and what had come. begin gets what a flow needs, and answers what takes its packets
// and says whether they are right.
function flow(client, { type, body, to = destination, timeout = 60_000, signer, framed }, kind, first, begin) {
  const id = randomUUID();
  const reply = client.inbox + "." + id;
  return new Promise((resolve) => {
    const items = [];
    let pulse;
    const publish = (subject, headers, data) => post(framed, subject + to, reply, signed(signers[signer], { "sixfold-request": id, ...headers }, data, to), data);
    const end = (outcome) => {
      clearTimeout(timer);
      clearInterval(pulse);
      client.calls.delete(id);
      resolve({ id, body: items, ...outcome });
    };
    const leave = (status) => {
      publish("sixfold.cancel.", { "sixfold-protocol": "cancel/1" });
      end({ status });
    };
    const timer = setTimeout(leave, timeout, "timeout");
    const { take, beat } = begin({ items, end, leave, credit: (n) => publish("sixfold.cancel.", { "sixfold-protocol": "credit/1", "sixfold-number": n }) });
    if (beat) pulse = setInterval(beat, every);
    client.calls.set(id, { type, end, flow: take });
    publish(kind === "scatter" ? "sixfold.cancel." : "sixfold.request.", {
      "sixfold-protocol": kind + "/1", "sixfold-timeout": timeout, ...first,
      "ce-specversion": "1.0", "ce-id": randomUUID(), "ce-source": "/node", "ce-type": type, "ce-datacontenttype": "application/json",
    }, JSON.stringify(body));
  });
}

// isFault says whether a reply is one, of a category that is known.
const isFault = (kind, h) => kind === "reply" && h["ce-type"] === "sixfold.fault" && statuses.has(h["sixfold-status"]) && h["sixfold-status"] !== "ok";

// stream reads a stream to its end, or until it has leaveAfter items.
function stream(client, question) {
  const window = question.window ?? 64;
  return flow(client, question, "request", { "sixfold-number": window }, ({ items, end, leave, credit }) => {
    let last = 0;
    let granted = window;
    let heard;
    const beat = () => (heard && Date.now() - heard > silence ? leave("lost") : credit(granted));
    const take = (kind, h, message) => {
      if (isFault(kind, h) && whole(h)) {
        end({ status: h["sixfold-status"], versions: h["sixfold-versions"] });
        return true;
      }
      const n = number(h);
      const type = question.type + (kind === "item" ? ".item" : ".reply");
      if (n === undefined || n > granted || (kind !== "alive" && (!whole(h) || h["ce-type"] !== type))) return false;
      if ((kind === "item" && (n === 0 || n <= last)) || (kind === "reply" && (h["sixfold-status"] !== "ok" || n < last))) return false;
      heard = Date.now();
      if (n > last + (kind === "item" ? 1 : 0)) leave("lost");
      else if (kind === "reply") end({ status: "ok" });
      else if (kind === "item") {
        last = n;
        items.push(parsed(message)); // and read it
        if (items.length === question.leaveAfter) leave("left");
        else if (granted - last <= window / 2) credit((granted = last + window));
      }
      return true;
    };
    return { take, beat };
  });
}

// scatter asks all who listen, until the deadline or until as many as are wanted have answered.
function scatter(client, question) {
  return flow(client, question, "scatter", {}, ({ items, leave }) => {
    const seen = new Set();
    const take = (kind, h, message) => {
      if (!isFault(kind, h) && (kind !== "reply" || h["sixfold-status"] !== "ok" || h["ce-type"] !== question.type + ".reply")) return false;
      const key = h["ce-source"] + "\0" + h["ce-id"];
      if (!whole(h) || seen.has(key)) return false;
      seen.add(key);
      items.push(h["sixfold-status"] === "ok" ? parsed(message) : h["sixfold-status"]);
      if (items.length === question.want) leave("enough");
      return true;
    };
    return { take };
  });
}

// A responder: requests that are being worked on, by the address for answers and the id.
class Responder {
  constructor(handlers, streams) {
    this.handlers = handlers;
    this.streams = streams;
    this.jobs = new Map();
    this.dropped = 0;
    this.duplicates = 0;
    connection.subscribe("sixfold.request." + destination, { queue: "sixfold", callback: (_, message) => this.take(opened(message)) });
    connection.subscribe("sixfold.cancel." + destination, { callback: (_, message) => this.toAll(opened(message)) });
  }

  toAll(message) {
    switch (parse(read(message)["sixfold-protocol"])?.kind) {
      case "scatter":
        return this.take(message);
      case "credit":
        return this.credit(message);
      case "cancel":
        return this.cancel(message);
    }
  }

  say(message, h, written, status, type, more = {}, body) {
    const id = h["sixfold-request"];
    post(message.framed, message.reply, undefined, signed(Object.values(signers)[0], {
      "sixfold-protocol": "reply/" + written, "sixfold-request": id, "sixfold-status": status,
      "ce-specversion": "1.0", "ce-id": randomUUID(), "ce-source": "/node", "ce-type": type, ...more,
    }, body, id), body);
  }

  async take(message) {
    const now = Date.now();
    const h = read(message);
    const protocol = parse(h["sixfold-protocol"]);
    if (!message.reply?.startsWith("_INBOX.") || !isID(h["sixfold-request"]) || (protocol?.kind !== "request" && protocol?.kind !== "scatter")) {
      this.dropped++;
      return;
    }
    const fault = (status, more) => this.say(message, h, protocol.written, status, "sixfold.fault", more);
    if (protocol.version !== 1) return fault("unsupported", { "sixfold-versions": "1" });
    if (!whole(h)) return fault("malformed");
    const asker = issuer(message, destination);
    if (!asker) return fault("unauthorised");
    const streams = protocol.kind === "request" && h["sixfold-number"] !== undefined;
    const handler = (streams ? this.streams : this.handlers)[h["ce-type"]];
    if (!handler) return fault("unsupported", { "sixfold-versions": "1" });
    if (!/^\d{1,9}$/.test(h["sixfold-timeout"] ?? "")) return fault("malformed");
    if (streams && !(number(h) > 0)) return fault("malformed");
    let deadline = now + Number(h["sixfold-timeout"]);
    const expires = Date.parse(h["ce-expirytime"] ?? "");
    if (expires + 60_000 < now) deadline = expires;
    if (deadline <= now) return fault("expired");
    const key = message.reply + " " + h["sixfold-request"];
    if (this.jobs.has(key)) {
      this.duplicates++;
      return;
    }
    let question;
    try {
      question = JSON.parse(new TextDecoder().decode(message.data));
    } catch {
      return fault("malformed");
    }
    const ended = new AbortController();
    ended.asker = asker;
    this.jobs.set(key, ended);
    const timer = setTimeout(() => ended.abort("expired"), deadline - now);
    try {
      if (streams) return await this.flow(message, h, handler(question, ended.signal, h), ended);
      const answer = await handler(question, ended.signal, h);
      this.say(message, h, 1, "ok", h["ce-type"] + ".reply", { "ce-datacontenttype": "application/json" }, JSON.stringify(answer));
    } catch (why) {
      if (ended.signal.reason === "cancelled" || ended.signal.reason === "silent") return; // nobody waits
      fault(ended.signal.reason ?? (statuses.has(why) && why !== "ok" ? why : "internal"));
    } finally {
      clearTimeout(timer);
      this.jobs.delete(key);
    }
  }

  // flow sends what a handler yields, no more than is granted, and then the end.
  async flow(message, h, items, ended) {
    const id = h["sixfold-request"];
    const type = h["ce-type"];
    let sent = 0;
    let quiet = true;
    let more = () => {};
    let granted = number(h);
    let heard = Date.now();
    ended.grant = (n) => {
      heard = Date.now();
      if (n <= granted) send({ "sixfold-protocol": "alive/1" }); // its caller asks
      granted = Math.max(granted, n);
      more();
    };
    ended.signal.addEventListener("abort", () => more());
    const send = (headers, body) => post(message.framed, message.reply, undefined, signed(Object.values(signers)[0], { "sixfold-request": id, "sixfold-number": sent, ...headers }, body, id), body);
    const pulse = setInterval(() => {
      if (Date.now() - heard > silence) return ended.abort("silent");
      if (quiet) send({ "sixfold-protocol": "alive/1" });
      quiet = true;
    }, every);
    try {
      for (;;) {
        while (sent >= granted && !ended.signal.aborted) await new Promise((resolve) => (more = resolve));
        const { value, done } = await items.next();
        if (ended.signal.aborted) throw ended.signal.reason;
        if (done) break;
        sent++;
        quiet = false;
        send({ "sixfold-protocol": "item/1", "ce-specversion": "1.0", "ce-id": randomUUID(), "ce-source": "/node", "ce-type": type + ".item", "ce-datacontenttype": "application/json" }, JSON.stringify(value));
      }
      this.say(message, h, 1, "ok", type + ".reply", { "sixfold-number": sent });
    } finally {
      clearInterval(pulse);
      await items.return();
    }
  }

  credit(message) {
    const h = read(message);
    const job = this.jobs.get(message.reply + " " + h["sixfold-request"]);
    if (job?.grant && number(h) !== undefined && issuer(message, destination) === job.asker) job.grant(number(h));
  }

  cancel(message) {
    const h = read(message);
    const job = this.jobs.get(message.reply + " " + h["sixfold-request"]);
    if (job && issuer(message, destination) === job.asker) job.abort("cancelled");
  }
}

if (verb === "ask") {
  const client = new Client();
  for (const question of await wishes()) {
    const outcome = await (question.stream ? stream(client, question) : question.scatter ? scatter(client, question) : client.ask(question));
    tell({ data: { name: question.name, ...outcome, ignored: client.ignored, waiting: client.calls.size } });
  }
  await connection.close();
} else {
  const responder = new Responder({
    "interop.quote": async ({ item }, ended, h) => {
      switch (item) {
        case "slow": // until its caller waits no more
          tell({ data: { status: "begun" } });
          await new Promise((resolve) => ended.addEventListener("abort", resolve));
          tell({ data: { status: ended.reason } });
          throw ended.reason;
        case "broken":
          throw new Error("the shelf has collapsed in aisle 7");
        case "secret":
          throw "unauthorised";
        case "sofa":
          return { rejection: { item } };
        case "books": // of this responder
          return { value: { item: JSON.stringify({ dropped: responder.dropped, duplicates: responder.duplicates, working: responder.jobs.size, correlation: h["ce-correlationid"] }), cents: 0 } };
      }
      return { value: { item, cents: 1900 } };
    },
  }, {
    "interop.count": async function* ({ to, failAt }, ended) {
      let n = 0;
      try {
        for (; n < to; n++) {
          if (n === failAt) throw "unavailable";
          yield { n };
        }
      } finally {
        tell({ data: { status: ended.reason ?? "done", length: n } });
      }
    },
  });
  await connection.flush();
  tell({ ready: true });
}
