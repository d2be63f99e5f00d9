package prepared

// Signature is what is known of a statement's parameters and result, as digests: of the types of its parameters, and of its columns. 0 is not
// known.
type Signature struct{ Parameters, Result uint32 }

// Compatible reports whether a client that was described `seen` may still use a statement of this signature. A part that the client never
// asked for (0) always fits.
func (s Signature) Compatible(seen Signature) bool {
	return (seen.Parameters == 0 || seen.Parameters == s.Parameters) && (seen.Result == 0 || seen.Result == s.Result)
}

// With is the signature with the parts that a newer description has.
func (s Signature) With(newer Signature) Signature {
	if newer.Parameters != 0 {
		s.Parameters = newer.Parameters
	}
	if newer.Result != 0 {
		s.Result = newer.Result
	}
	return s
}
