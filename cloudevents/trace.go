package cloudevents

// validTraceParent checks a traceparent of version 00, or what version 00 shares with a later one (W3C Trace Context,
// sections 3.2.2 and 3.2.4). One that is not valid is left out in both directions and starts a new trace; it is no
// reason to refuse a message.
func validTraceParent(s string) bool {
	if len(s) < 55 || len(s) > 255 || s[2] != '-' || s[35] != '-' || s[52] != '-' {
		return false
	}
	version := s[:2]
	if version == "ff" || version == "00" && len(s) != 55 || len(s) > 55 && (s[55] != '-' || !printable(s)) {
		return false
	}
	return isHex(version) && isHex(s[53:55]) && isHex(s[3:35]) && !isZero(s[3:35]) && isHex(s[36:52]) && !isZero(s[36:52])
}

// validTraceState bounds a tracestate as W3C Trace Context, section 3.3.1.5 allows; its members are opaque here.
func validTraceState(s string) bool { return s != "" && len(s) <= maxTraceState && printable(s) }

const maxTraceState = 512

func isHex(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func isZero(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] != '0' {
			return false
		}
	}
	return true
}
