package sixfold

// A Message is a plain value with a stable wire name. The method belongs to the value, never to a pointer, and
// answers the same name for every value of the type: the name is what is stored and sent, so that renaming the
// Go type breaks nothing. By convention it is "<context>.<what>", for example "orders.placed".
type Message interface {
	// MessageName is the wire name: 1 to 255 bytes of printable ASCII without spaces.
	MessageName() string
}

// Keyed is a Message that states its own key. Messages of one key stay in order, from the transaction that
// publishes them to the handler. An empty key means no key.
type Keyed interface {
	Message
	MessageKey() string
}

// Evolved is a Message that had other names or other bodies in the past. Rows in outbox, inbox and dead letters
// outlive the struct, so a message keeps its history as long as an old copy may exist anywhere.
type Evolved interface {
	Message
	// MessageHistory lists the former forms, oldest first.
	MessageHistory() []Former
}

// Former is one past form of a message.
type Former struct {
	// Name is the wire name it had: neither the present name nor that of another form, since two bodies under one
	// name cannot be told apart. Who changes a body so that old copies need an Upcast changes the name as well.
	Name string
	// Upcast turns a body of this form into a body of the next one (the present one, for the last in the list).
	// It must not modify body. Nil means that only the name changed.
	Upcast func(body []byte) ([]byte, error)
}

// A Command is a Message that asks for something to be done, by one handler that answers an R.
// Embed Returns[R] to implement it.
type Command[R any] interface {
	Message
	returns(R)
}

// A Query is a Message that asks a question, which one handler answers with an R.
// Embed Returns[R] to implement it.
type Query[R any] interface {
	Message
	returns(R)
}

// Returns is embedded in a command or a query to fix the type of its result. It adds nothing to the wire; tag it
// `json:"-"`.
type Returns[R any] struct{}

//lint:ignore U1000 it is there for its signature: what Command and Query ask for
func (Returns[R]) returns(R) {}

func (Returns[R]) answered() {}

// HasResult reports whether m is a command or a query: whether it embeds Returns.
func HasResult(m Message) bool {
	_, ok := m.(interface{ answered() })
	return ok
}
