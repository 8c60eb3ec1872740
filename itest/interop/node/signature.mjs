// Signs and verifies as the chapter "Signatures" of docs/protocol.md says.

import { createHash, createPrivateKey, createPublicKey, sign as signWith, verify as verifyWith } from "node:crypto";

const fields = ["type", "id", "source", "subject", "time", "partitionkey", "datacontenttype", "correlationid", "causationid", "expirytime", "replyto"];
const own = /^(sixfold-|ce-|ce_|cloudevents|nats-)/i;
const known = new Set([...fields, "specversion", "traceparent", "tracestate", "sequence", "sixfoldheaders", "sixfoldbody", "sixfoldsignature"]);

// privateKey makes a key of its seed in hexadecimal: PKCS #8 as RFC 8410 has it.
export const privateKey = (seed) =>
  createPrivateKey({ key: Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), Buffer.from(seed, "hex")]), format: "der", type: "pkcs8" });

export const publicKey = (hex) => createPublicKey({ key: Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), Buffer.from(hex, "hex")]), format: "der", type: "spki" });

// time is in UTC, with as many digits of the second as it needs.
function time(text) {
  if (!text) return "";
  const found = /^(.{19})(\.\d+)?(Z|[+-]\d\d:\d\d)$/i.exec(text);
  const whole = new Date(found[1].toUpperCase() + found[3].toUpperCase()).toISOString().slice(0, 19);
  const fraction = (found[2] ?? "").slice(0, 10).replace(/\.?0+$/, "");
  return whole + fraction + "Z";
}

// canonical is what is signed: of a message with attributes, headers and body (undefined: none), and of a call's headers.
export function canonical({ keyID, issuedAt, audience }, { attributes = {}, headers = {}, body }, call) {
  const parts = [];
  const part = (value) => {
    const bytes = Buffer.from(value);
    const length = Buffer.alloc(4);
    length.writeUInt32BE(bytes.length);
    parts.push(length, bytes);
  };
  for (const value of ["sixfold signature 1", call ? call.protocol : "message/1", keyID, String(issuedAt), audience]) part(value);
  for (const name of fields) {
    let value = attributes[name] ?? "";
    if (name === "time" || name === "expirytime") value = time(value);
    if (name === "source" && value === "sixfold:unnamed") value = "";
    if (name === "replyto" && call) value = "";
    part(value);
  }
  for (const name of ["request", "timeout", "status", "versions"]) part(call?.[name] ?? "");
  if (call?.number) part(call.number);
  const all = new Map(Object.entries(headers).filter(([name]) => !own.test(name) && name !== "sixfoldsignature"));
  for (const [name, value] of Object.entries(attributes)) if (!known.has(name)) all.set(name, value);
  part(String(all.size));
  const byBytes = (a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b));
  for (const name of [...all.keys()].sort(byBytes)) {
    part(name);
    part(all.get(name));
  }
  part(body === undefined ? "" : createHash("sha256").update(body).digest());
  return Buffer.concat(parts);
}

export function sign({ id, key }, message, audience, call, issuedAt = Date.now()) {
  const bytes = canonical({ keyID: id, issuedAt, audience }, message, call);
  return ["1", id, issuedAt, signWith(null, bytes, key).toString("base64url"), audience].join(":");
}

// verify answers the owner of the key, or throws why there is none. keys has {owner, key} by their ids.
export function verify(keys, message, audience, text, call, maxAge = 7 * 24 * 3600_000, maxSkew = 60_000) {
  if (!text) throw new Error("unsigned");
  const found = /^1:([A-Za-z0-9._-]{1,64}):([1-9]\d{0,14}):([A-Za-z0-9_-]{86}):([\x21-\x7e]{1,255})$/.exec(text);
  if (!found || Buffer.from(found[3], "base64url").toString("base64url") !== found[3]) throw new Error("malformed");
  const [, keyID, issuedAt, signature, meant] = found;
  const key = keys[keyID];
  if (!key) throw new Error("unknown key");
  const age = Date.now() - Number(issuedAt);
  if (age > maxAge || age < -maxSkew) throw new Error("stale");
  if (meant !== audience) throw new Error("another audience");
  if (!verifyWith(null, canonical({ keyID, issuedAt, audience }, message, call), key.key, Buffer.from(signature, "base64url"))) throw new Error("forged");
  return key.owner;
}
