package cloudevents

// Limits of what is read and written as JSON.
const (
	MaxBytes = 32 << 20 // bytes of an event or a batch; more is refused before anything else is looked at
	MaxBatch = 1000     // events of a batch
	MaxDepth = 64       // levels of an event, its own object included
)

// Media types of structured mode.
const (
	ContentType      = "application/cloudevents+json"
	BatchContentType = "application/cloudevents-batch+json"
)

// UnnamedSource stands on the wire for an empty Envelope.Source, since CloudEvents requires one. It reads back as empty.
const UnnamedSource = "sixfold:unnamed"

const specVersion = "1.0"
