package protocol

// ParseParameterStatus reads a whole ParameterStatus. The strings are copies; name is as the server spells it. ok is false when the
// message is malformed.
func ParseParameterStatus(frame []byte) (name, value string, ok bool) {
	if len(frame) < HeaderBytes {
		return "", "", false
	}
	name, rest, ok := cString(frame[HeaderBytes:])
	if !ok {
		return "", "", false
	}
	value, _, ok = cString(rest)
	return name, value, ok
}
