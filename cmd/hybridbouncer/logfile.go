package main

import (
	"fmt"
	"io"
	"os"
	"sync"
)

// logFile is where the log goes: the file of log.file, or another writer without one. Several goroutines may use it.
type logFile struct {
	otherwise io.Writer // without a file

	mu   sync.Mutex
	file *os.File // nil: none
}

// open opens the file at path, or none, and closes the one before. On an error the one before stays. Call it again for the same path
// after logrotate has renamed the file.
func (l *logFile) open(path string) error {
	var file *os.File
	if path != "" {
		var err error
		if file, err = os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o640); err != nil {
			return fmt.Errorf("open log.file: %w", err)
		}
	}
	l.mu.Lock()
	before := l.file
	l.file = file
	l.mu.Unlock()
	if before != nil {
		_ = before.Close() // its lines are written; nothing can be done about an error
	}
	return nil
}

// Write implements io.Writer.
func (l *logFile) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		return l.file.Write(line)
	}
	return l.otherwise.Write(line)
}
