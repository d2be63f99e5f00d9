package protocol

import "testing"

// TestParseParameterStatus: a server is not trusted to end its strings.
func TestParseParameterStatus(t *testing.T) {
	for frame, want := range map[string]string{
		"S\x00\x00\x00\x12TimeZone\x00UTC\x00": "TimeZone=UTC", "S\x00\x00\x00\x07a\x00\x00": "a=",
		"S\x00\x00\x00\x06a\x00": "", "S\x00\x00\x00\x05a": "", "S\x00\x00\x00\x04": "", "S": "",
	} {
		name, value, ok := ParseParameterStatus([]byte(frame))
		if ok != (want != "") || ok && name+"="+value != want {
			t.Errorf("%q: %q %q %v", frame, name, value, ok)
		}
	}
}
