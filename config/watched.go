package config

import "os"

// Watched is a file that a setting names, and what it was when it was read.
type Watched struct {
	Path string
	Info os.FileInfo // nil: it could not be found
}

// Watch is called before the file is read, so that no change between the two is missed.
func Watch(path string) Watched {
	info, _ := os.Stat(path) // through symbolic links: Kubernetes replaces those
	return Watched{path, info}
}

// Changed reports whether the file is another than it was.
func (w Watched) Changed() bool { return !w.Same(Watch(w.Path)) }

// Same reports whether two looks have found the same file, unchanged.
func (w Watched) Same(other Watched) bool {
	if w.Path != other.Path || w.Info == nil || other.Info == nil {
		return w.Path == other.Path && (w.Info == nil) == (other.Info == nil)
	}
	return os.SameFile(w.Info, other.Info) && w.Info.ModTime().Equal(other.Info.ModTime()) && w.Info.Size() == other.Info.Size()
}
