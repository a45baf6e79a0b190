package bootstrap

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"time"
)

// secrets are what kubeadm prints in the join commands that it recommends.
var secrets = regexp.MustCompile(`\b[a-z0-9]{6}\.[a-z0-9]{16}\b|(--certificate-key[ =])\S+`)

// Redact replaces bootstrap tokens and certificate keys.
func Redact(s string) string {
	return secrets.ReplaceAllString(s, "${1}[redacted]")
}

// A lineWriter puts the time before every whole line and redacts it.
type lineWriter struct {
	out io.Writer
	now func() time.Time
	buf []byte
}

func newLineWriter(out io.Writer, now func() time.Time) *lineWriter {
	return &lineWriter{out: out, now: now}
}

func (w *lineWriter) Write(p []byte) (int, error) {
	w.buf = append(w.buf, p...)
	for {
		line, rest, found := bytes.Cut(w.buf, []byte("\n"))
		if !found {
			return len(p), nil
		}
		// A console that is gone must not end kubeadm with a broken pipe.
		fmt.Fprintf(w.out, "%s %s\n", w.now().UTC().Format(time.RFC3339), Redact(string(line)))
		w.buf = append(w.buf[:0], rest...)
	}
}

// flush writes a last line that has no end.
func (w *lineWriter) flush() {
	if len(w.buf) > 0 {
		_, _ = w.Write([]byte("\n")) // Write never fails
	}
}
