package bus

// Part is a part of a broker's topology (an exchange, a stream, a topic, a queue, a binding) as it was found.
type Part struct {
	// Name says what it is, like "queue billing@orders".
	Name  string    `json:"name"`
	State PartState `json:"state"`
	// Text says what differs, in both versions, or why nobody knows.
	Text string `json:"text,omitempty"`
}

// PartState is what a broker has of a part.
type PartState string

// States of a part.
const (
	There   PartState = "there"
	Missing PartState = "missing"
	// Differs: it is there with other properties. Nothing here changes it; whoever made it has to, or the description is wrong.
	Differs PartState = "differs"
	// Unknown: the broker's protocol cannot tell, or we may not ask.
	Unknown PartState = "unknown"
)
