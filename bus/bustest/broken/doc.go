// Package broken holds, for each case of bustest, a driver that breaks the sentence of that case and no other. Its test
// shows that the suite notices each of them, and names the right one.
//
// Every driver is the in-process broker with one behaviour twisted the way that real drivers get it wrong:
// acknowledgements that Close does not flush, confirms taken for routed, a redelivered run in the order of its return.
package broken
