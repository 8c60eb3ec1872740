// Package driver has the parts that drivers of brokers share, ours and others': the answers to a batch, a queue, the window
// of what is in flight, what is known of topics, the turns of feeds. Who uses a transport needs nothing of it; package bus
// says what a driver has to keep, and package bustest whether it does.
package driver
