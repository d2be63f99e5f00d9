package prepared

// Shape is what is known of a statement's parameters and result, as digests: of their types; of its columns. 0 is not known.
type Shape struct{ Parameters, Result uint32 }

// Fits reports that who goes by told is right about a statement of this shape. Nobody goes by what he was not told.
func (s Shape) Fits(told Shape) bool {
	return (told.Parameters == 0 || told.Parameters == s.Parameters) && (told.Result == 0 || told.Result == s.Result)
}

// With is the shape with what newer knows.
func (s Shape) With(newer Shape) Shape {
	if newer.Parameters != 0 {
		s.Parameters = newer.Parameters
	}
	if newer.Result != 0 {
		s.Result = newer.Result
	}
	return s
}
