// Package cloudevents turns envelopes into CloudEvents 1.0.2 and back: structured mode (one JSON text, or a batch of
// them) and binary mode (headers beside an untouched body).
//
//	data, err := cloudevents.Marshal(env)
//	env, err := cloudevents.Unmarshal(data)
//
//	binding := cloudevents.NATS() // once
//	headers, err = binding.AppendHeaders(headers[:0], env)
//	err = binding.Read(&delivery.Envelope, maps.All(received), body)
//
// What is written reads back exactly: the bytes of the body, nil told from empty, and every header. What is read may come
// from anybody: texts are bounded before they are copied, no name counts twice, and what the framework writes for itself
// (headers under "sixfold-") is ignored.
//
// # Attributes
//
//	Envelope       attribute           source
//	               specversion         "1.0"; CloudEvents 1.0.2, "REQUIRED Attributes"
//	ID             id                  required
//	Source         source              required; UnnamedSource stands for ""
//	Type           type                required
//	Subject        subject             CloudEvents 1.0.2, "OPTIONAL Attributes"
//	Time           time                RFC 3339 in UTC, to the nanosecond
//	ContentType    datacontenttype     must be a media type
//	Key            partitionkey        extension "Partitioning"
//	CorrelationID  correlationid       extension "Correlation"
//	CausationID    causationid         extension "Correlation"
//	TraceParent    traceparent         extension "Distributed Tracing"; W3C Trace Context
//	TraceState     tracestate          the same
//	Expires        expirytime          extension "Expiry Time"
//	ReplyTo        replyto             ours
//	Sequence       sequence            extension "Sequence"
//	Headers        extensions          see below; "dataschema" is the attribute of that name
//	Body           data, data_base64   JSON Event Format 1.0.2, section 3.1
//
// An empty field is an unset attribute. An attribute that came empty, is longer than 255 bytes, or holds CR, LF or NUL is
// refused. A trace context that breaks W3C's rules is left out in both directions and fails nothing.
//
// # Headers
//
// In binary mode the user's headers go under their own names, but "dataschema", "dataref" and "sixfolddata" (the extension "Dataref", and
// the digest of what it refers to; see package claimcheck), which are attributes there too. In structured mode those whose names are legal names of
// extensions (lower-case letters and digits, none of the above) become extension attributes. All others travel packed
// in the attribute "sixfoldheaders": names that no attribute can have, names of the table above, values that are not
// printable ASCII where a carrier has nothing else, and "content-type".
//
// Attributes that are not in the table become headers: text as it is, integers and booleans as their JSON text. Headers
// beside the attributes (binary mode only) are kept unless an envelope could not carry them: then they are left out, and
// so are those under reserved prefixes (sixfold.IsReservedHeader).
//
// # Bodies
//
// In structured mode a nil body is no data at all and an empty one is "data_base64":"". In binary mode, where most
// carriers cannot tell them apart, the attribute "sixfoldbody" says "none" or "empty" beside a body without bytes.
package cloudevents
