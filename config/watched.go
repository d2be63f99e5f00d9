package config

import "os"

// Watched is a file that a setting names, as it was at one moment.
type Watched struct {
	Path string
	Info os.FileInfo // nil: there was no such file
}

// Watch looks at a file. Call it before you read the file: then no change between the two is missed.
func Watch(path string) Watched {
	info, _ := os.Stat(path) // follows symbolic links: Kubernetes replaces the links
	return Watched{path, info}
}

// Changed reports whether the file has changed since.
func (w Watched) Changed() bool { return !w.Same(Watch(w.Path)) }

// Same reports whether two looks found the same unchanged file.
func (w Watched) Same(other Watched) bool {
	if w.Path != other.Path || w.Info == nil || other.Info == nil {
		return w.Path == other.Path && (w.Info == nil) == (other.Info == nil)
	}
	return os.SameFile(w.Info, other.Info) && w.Info.ModTime().Equal(other.Info.ModTime()) && w.Info.Size() == other.Info.Size()
}
