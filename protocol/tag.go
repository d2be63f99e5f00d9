package protocol

import "bytes"

// CommandTag is the tag of a whole CommandComplete, "INSERT 0 1" for example. It points into the frame.
func CommandTag(frame []byte) []byte {
	if len(frame) < HeaderBytes {
		return nil
	}
	tag := frame[HeaderBytes:]
	if end := bytes.IndexByte(tag, 0); end >= 0 {
		tag = tag[:end]
	}
	return tag
}
