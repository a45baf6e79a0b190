package audit_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/k8snode/k8snode/provision/audit"
)

func fixedClock() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

func threeEvents(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	l := audit.New(&b, fixedClock, audit.Tail{})
	for _, e := range []audit.Event{
		{Node: "a", Action: "arm", Result: "granted", Detail: "until 13:00"},
		{Node: "a", Address: netip.MustParseAddr("192.0.2.1"), Action: "seed", Result: "granted"},
		{Address: netip.MustParseAddr("192.0.2.2"), Action: "config", Result: "refused"},
	} {
		if err := l.Record(e); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

func TestRecordAndVerify(t *testing.T) {
	log := threeEvents(t)
	const first = `{"seq":1,"time":"2026-03-01T12:00:00Z","node":"a","action":"arm","result":"granted","detail":"until 13:00","prev":"","hash":"`
	if !strings.HasPrefix(log, first) {
		t.Errorf("log begins with %s", log)
	}
	tail, err := audit.Verify(strings.NewReader(log))
	if err != nil {
		t.Fatal(err)
	}
	if tail.Seq != 3 {
		t.Errorf("tail %+v, want 3 lines", tail)
	}

	// A new process goes on where the old one stopped.
	var more bytes.Buffer
	l := audit.New(&more, fixedClock, tail)
	if err := l.Record(audit.Event{Action: "disarm", Result: "granted"}); err != nil {
		t.Fatal(err)
	}
	got, err := audit.Verify(strings.NewReader(log + more.String()))
	if err != nil || got != l.Tail() || got.Seq != 4 {
		t.Errorf("continued log: %+v, %v", got, err)
	}
}

func TestVerifyRefuses(t *testing.T) {
	lines := strings.SplitAfter(threeEvents(t), "\n")[:3]
	for _, tt := range []struct {
		name string
		log  string
		want string
	}{
		{"changed", lines[0] + strings.Replace(lines[1], "192.0.2.1", "192.0.2.9", 1) + lines[2], "checking line 2 of the audit log: its digest is wrong"},
		{"removed", lines[0] + lines[2], "checking line 2 of the audit log: it does not follow the line before"},
		{"swapped", lines[0] + lines[2] + lines[1], "checking line 2 of the audit log: it does not follow the line before"},
		{"repeated", lines[0] + lines[0], "checking line 2 of the audit log: it does not follow the line before"},
		{"first removed", lines[1] + lines[2], "checking line 1 of the audit log: it does not follow the line before"},
		{"cut", lines[0] + strings.TrimSuffix(lines[1], "\n"), "checking line 2 of the audit log: it has no end"},
		{"key added", strings.Replace(lines[0], `"seq"`, `"x":1,"seq"`, 1), "checking line 1 of the audit log: its digest is wrong"},
		{"not JSON", "x\n", "checking line 1 of the audit log: it is not an entry: invalid character 'x' looking for beginning of value"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := audit.Verify(strings.NewReader(tt.log))
			if err == nil || err.Error() != tt.want {
				t.Errorf("error %v, want %s", err, tt.want)
			}
		})
	}
}

type fullDisk struct{ n int }

func (f *fullDisk) Write(p []byte) (int, error) {
	if f.n--; f.n < 0 {
		return 0, errors.New("disk full")
	}
	return len(p), nil
}

func TestRecordFails(t *testing.T) {
	l := audit.New(&fullDisk{n: 1}, fixedClock, audit.Tail{})
	if err := l.Record(audit.Event{Action: "arm"}); err != nil {
		t.Fatal(err)
	}
	before := l.Tail()
	if err := l.Record(audit.Event{Action: "seed"}); err == nil || err.Error() != "writing the audit log: disk full" {
		t.Errorf("error %v", err)
	}
	if err := l.Record(audit.Event{Action: "seed"}); err == nil || err.Error() != "writing the audit log: an earlier write failed: disk full" {
		t.Errorf("error %v", err)
	}
	if l.Tail() != before {
		t.Error("the tail moved without a line")
	}
}

func TestNilLog(t *testing.T) {
	var l *audit.Log
	if err := l.Record(audit.Event{Action: "arm"}); err != nil {
		t.Error(err)
	}
}

func FuzzVerify(f *testing.F) {
	f.Add("")
	f.Add(`{"seq":1,"time":"2026-03-01T12:00:00Z","action":"a","result":"b","prev":"","hash":"0"}` + "\n")
	f.Fuzz(func(t *testing.T, log string) {
		tail, err := audit.Verify(strings.NewReader(log))
		if err == nil && (tail.Seq == 0) != (log == "") {
			t.Errorf("%q verifies with %+v", log, tail)
		}
	})
}

// A line that is taken is exactly what was written: with any byte changed it is
// not taken, and nor is it in another place.
func FuzzReadLine(f *testing.F) {
	var log bytes.Buffer
	l := audit.New(&log, fixedClock, audit.Tail{})
	if err := l.Record(audit.Event{Node: "a", Action: "config", Result: "granted", Detail: "sha256 <&>"}); err != nil {
		f.Fatal(err)
	}
	whole := bytes.TrimSuffix(log.Bytes(), []byte("\n"))
	f.Add(whole, 0, byte(1))
	f.Add(whole, len(whole)-3, byte(0x20))
	f.Add([]byte(`{"seq":1,"seq":1}`), 3, byte(1))
	f.Fuzz(func(t *testing.T, raw []byte, at int, flip byte) {
		line, err := audit.ReadLine(raw, audit.Tail{})
		if err != nil {
			return
		}
		if again, err := json.Marshal(line); err != nil || !bytes.Equal(again, raw) {
			t.Errorf("%q was taken for %q, %v", raw, again, err)
		}
		if _, err := audit.ReadLine(raw, line.Tail()); !errors.Is(err, audit.ErrOrder) {
			t.Errorf("a line follows itself: %v", err)
		}
		if flip == 0 || at < 0 || at >= len(raw) {
			return
		}
		raw[at] ^= flip
		if changed, err := audit.ReadLine(raw, audit.Tail{}); err == nil {
			t.Errorf("changed at %d it is taken: %+v", at, changed)
		}
	})
}
