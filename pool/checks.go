//go:build checks

package pool

// guarded asks the owner whether it holds its lock. Only tests pay for it (build tag checks).
func (s *Set) guarded() {
	if s.Guard != nil {
		s.Guard()
	}
}
