package sixfold

// maxTraceState is the least length of a tracestate that W3C Trace Context (section 3.3.1.5) asks everybody to carry.
const maxTraceState = 512

// joinTrace gives env a trace context unless it has one. A traceparent that breaks the specification begins a new
// trace (section 3.2.4), a tracestate that does is dropped alone.
func joinTrace(env *Envelope, parent, state string) {
	if env.TraceParent != "" || !isTraceParent(parent) {
		return
	}
	env.TraceParent = parent
	if checkTraceState(state) == nil {
		env.TraceState = state
	}
}

// isTraceParent reports whether s is a traceparent of W3C Trace Context, section 3.2.2: version, trace id, parent id
// and flags in lower case hexadecimal, the ids not zero. Versions to come may be longer.
func isTraceParent(s string) bool {
	const length = len("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	if len(s) < length || len(s) > MaxName || s[2] != '-' || s[35] != '-' || s[52] != '-' {
		return false
	}
	version, traceID, parentID, flags := s[:2], s[3:35], s[36:52], s[53:55]
	if !isHex(version) || !isHex(traceID) || !isHex(parentID) || !isHex(flags) || version == "ff" || isZero(traceID) || isZero(parentID) {
		return false
	}
	if len(s) == length {
		return true
	}
	return version != "00" && s[length] == '-' && checkText("", s) == nil
}

func isHex(s string) bool {
	for i := range len(s) {
		if (s[i] < '0' || s[i] > '9') && (s[i] < 'a' || s[i] > 'f') {
			return false
		}
	}
	return true
}

func isZero(s string) bool {
	for i := range len(s) {
		if s[i] != '0' {
			return false
		}
	}
	return true
}

// checkTraceState says why s cannot be a tracestate: its characters are those of section 3.3.1.3.
func checkTraceState(s string) error {
	if len(s) > maxTraceState {
		return invalid("tracestate: it has %d bytes, the limit is %d; leave members out", len(s), maxTraceState)
	}
	for i := range len(s) {
		if (s[i] < ' ' || s[i] >= 0x7f) && s[i] != '\t' {
			return invalid("tracestate %s: byte %d is a control character or not ASCII; pass it as the tracer wrote it", quote(s), i)
		}
	}
	return nil
}
