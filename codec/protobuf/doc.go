// Package protobuf is a codec for messages that are Protocol Buffers. It is a module of its own, for what it requires.
//
// A message of Sixfold's is a plain value; a generated type must not be copied and lives behind a pointer. So the message is a struct
// that embeds the pointer, which is where its name and its key belong too:
//
//	type OrderPlaced struct{ *shoppb.OrderPlaced }
//
//	func (OrderPlaced) MessageName() string  { return "orders.placed" }
//	func (m OrderPlaced) MessageKey() string { return m.GetOrderId() }
//
// Getters work on the struct, also on one that is empty. Copies of it share the one generated message, so nobody changes it after it
// was published or received.
//
// Give the codec to whoever publishes (outbox.Options.Codec, bus.PublisherOptions.Codec), and to consumers (bus.Options.Codecs), who choose it by
// the content type of what arrives, "application/protobuf": bodies in JSON are still decoded as before.
package protobuf
