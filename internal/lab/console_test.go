package lab_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/internal/lab"
)

func TestConsoleContinuesAfterTheLineItFound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "console.log")
	console := lab.NewConsole(path)
	done := make(chan error, 1)
	go func() { done <- dribble(path, "boot 1\r\nlogin: \x1b[2J\nboot 2\r\ncp1 log") }()

	for _, want := range []string{"boot 1", "boot 2"} {
		got, err := console.WaitFor(t.Context(), regexp.MustCompile(`^boot \d$`))
		if err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("got line %q, want %q", got, want)
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	// A prompt has no end of line.
	got, err := console.WaitFor(t.Context(), regexp.MustCompile(`log$`))
	if err != nil {
		t.Fatal(err)
	}
	if got != "cp1 log" {
		t.Errorf("got prompt %q, want %q", got, "cp1 log")
	}
}

// dribble writes text byte by byte, so that a reader sees halves of lines and
// of escape sequences.
func dribble(path, text string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	for i := range len(text) {
		if _, err := f.WriteString(text[i : i+1]); err != nil {
			return err
		}
		if i%8 == 0 {
			time.Sleep(20 * time.Millisecond)
		}
	}
	return f.Close()
}

func TestConsoleErrorShowsTheTail(t *testing.T) {
	path := filepath.Join(t.TempDir(), "console.log")
	var text strings.Builder
	for i := 1; i <= 40; i++ {
		fmt.Fprintf(&text, "\x1b[1;32mline %d\x1b[0m \r\n\r\n", i)
	}
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	power := errors.New("the machine is off")
	cancel(power)

	_, err := lab.NewConsole(path).WaitFor(ctx, regexp.MustCompile(`login:`))
	if !errors.Is(err, power) {
		t.Errorf("error %v does not wrap the cause", err)
	}
	var want strings.Builder
	fmt.Fprintf(&want, "waiting for %q on console %s: the machine is off; its last lines:", "login:", path)
	for i := 11; i <= 40; i++ {
		fmt.Fprintf(&want, "\n    line %d", i)
	}
	if diff := cmp.Diff(want.String(), fmt.Sprint(err)); diff != "" {
		t.Errorf("error (-want +got):\n%s", diff)
	}
}

func TestConsoleLineBegunAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "console.log")
	wide := strings.Repeat("w", 300)
	text := "Downloading...1 Bytes\rDownloading...2 Bytes\rdone\r\n" + wide + "\r\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	want := "    done\n    " + wide[:200] + "..."
	if got := lab.Tail(path); got != want {
		t.Errorf("got tail %q, want %q", got, want)
	}
	line, err := lab.NewConsole(path).WaitFor(t.Context(), regexp.MustCompile(`^Downloading...2`))
	if err != nil {
		t.Fatal(err)
	}
	if want := "Downloading...2 Bytes"; line != want {
		t.Errorf("got line %q, want %q", line, want)
	}
}

func TestTailOfNothing(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(dir, "missing")
	for path, want := range map[string]string{
		empty:   "    (empty)",
		missing: "    (open " + missing + ": no such file or directory)",
	} {
		if got := lab.Tail(path); got != want {
			t.Errorf("Tail(%s) = %q, want %q", path, got, want)
		}
	}
}

func TestPlain(t *testing.T) {
	for _, tt := range []struct{ name, line, want string }{
		{"text", "Started kubelet.", "Started kubelet."},
		{"colour", "[\x1b[0;32m  OK  \x1b[0m] Reached target", "[  OK  ] Reached target"},
		{"cursor", "\x1b[2J\x1b[01;01H\x1b[=3h\x1b[8mBdsDxe", "BdsDxe"},
		{"title with bell", "\x1b]0;root@cp1\x07# ", "# "},
		{"title with terminator", "\x1b]0;root@cp1\x1b\\# ", "# "},
		{"character set", "\x1b(Bplain", "plain"},
		{"bell, null and carriage return", "a\x07b\x00c\r", "abc"},
		{"tab stays", "a\tb", "a\tb"},
		{"broken UTF-8", "a\xffb", "ab"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := lab.Plain(tt.line); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func FuzzPlain(f *testing.F) {
	f.Add("\x1b[1;32mok\x1b[0m\r")
	f.Add("\x1b]0;title\x07")
	f.Add("\x1b")
	f.Fuzz(func(t *testing.T, line string) {
		plain := lab.Plain(line)
		for _, r := range plain {
			if r < ' ' && r != '\t' || r == 0x7f {
				t.Fatalf("Plain(%q) = %q holds control character %q", line, plain, r)
			}
		}
		if again := lab.Plain(plain); again != plain {
			t.Fatalf("Plain is not idempotent: %q, then %q", plain, again)
		}
	})
}
