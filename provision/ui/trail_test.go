package ui_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/k8snode/k8snode/provision/access"
	"github.com/k8snode/k8snode/provision/audit"
	"github.com/k8snode/k8snode/provision/ui"
)

// record writes a log of n entries, of the nodes a and b in turn.
func record(t testing.TB, n int) []byte {
	t.Helper()
	var b bytes.Buffer
	log := audit.New(&b, func() time.Time { return noon }, audit.Tail{})
	for i := range n {
		if err := log.Record(audit.Event{Node: string(rune('a' + i%2)), Action: "seed", Result: "granted", Detail: fmt.Sprint(i + 1)}); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func trailOf(t testing.TB, content []byte) (*ui.Trail, string, *clock) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	c := &clock{now: noon}
	return ui.NewTrail(path, c.Now), path, c
}

func entries(t testing.TB, trail *ui.Trail, q ui.EntryQuery) ui.Entries {
	t.Helper()
	found, err := trail.Entries(context.Background(), q)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestTrailPages(t *testing.T) {
	trail, _, _ := trailOf(t, record(t, 25))
	read := func(node string) []string {
		var all []string
		q := ui.EntryQuery{Node: node, Limit: 5}
		for {
			found := entries(t, trail, q)
			var page []string
			for _, e := range found.Entries {
				if !e.Proved || e.Detail != fmt.Sprint(e.Seq) || !e.Time.Equal(noon) {
					t.Errorf("entry %+v", e)
				}
				page = append(page, e.Detail)
			}
			all = append(all, strings.Join(page, " "))
			if q.Before = found.Next; q.Before == 0 {
				return all
			}
		}
	}
	if got := fmt.Sprint(read("")); got != "[25 24 23 22 21 20 19 18 17 16 15 14 13 12 11 10 9 8 7 6 5 4 3 2 1]" || len(read("")) != 5 {
		t.Errorf("all: %s", got)
	}
	if got := strings.Join(read("a"), "; "); got != "25 23 21 19 17; 15 13 11 9 7; 5 3 1" {
		t.Errorf("a: %s", got)
	}
	if got := entries(t, trail, ui.EntryQuery{Node: "c", Limit: 5}); len(got.Entries) != 0 || got.Total != 25 {
		t.Errorf("c: %+v", got)
	}
	if got := entries(t, trail, ui.EntryQuery{Before: 999, Limit: 1}); got.Entries[0].Seq != 25 {
		t.Errorf("before what is not there: %+v", got.Entries)
	}
}

func TestTrailFollows(t *testing.T) {
	whole := record(t, 10)
	lines := bytes.SplitAfter(whole, []byte("\n"))
	trail, path, c := trailOf(t, nil)
	write := func(b []byte) {
		t.Helper()
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	total := func() int {
		found := entries(t, trail, ui.EntryQuery{Limit: 100})
		if found.Chain.Broken != "" || len(found.Entries) != found.Total || found.Chain.Tail.Seq != int64(found.Total) {
			t.Errorf("%+v", found)
		}
		return found.Total
	}
	if total() != 0 {
		t.Error("an empty log has entries")
	}
	for i := range 10 {
		half := len(lines[i]) / 2
		write(lines[i][:half])
		if total() != i {
			t.Errorf("half of line %d counts", i+1)
		}
		write(lines[i][half:])
		if total() != i+1 {
			t.Errorf("line %d does not count", i+1)
		}
	}
	want, err := audit.Verify(bytes.NewReader(whole))
	if err != nil || entries(t, trail, ui.EntryQuery{}).Chain.Tail != want {
		t.Errorf("tail %+v, want %+v, %v", entries(t, trail, ui.EntryQuery{}).Chain.Tail, want, err)
	}
	// What was read is not read again, until somebody asks for that; at most once
	// a minute.
	broken := bytes.Replace(whole, []byte(`"detail":"3"`), []byte(`"detail":"4"`), 1)
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(broken, 0); err != nil {
		t.Fatal(err)
	}
	for after, want := range []string{"", "line 3: its digest is wrong"} {
		c.turn(time.Duration(after) * time.Minute)
		if err := trail.Recheck(context.Background()); err != nil {
			t.Fatal(err)
		}
		found := entries(t, trail, ui.EntryQuery{Limit: 100})
		if found.Chain.Broken != want || found.Total != 10 {
			t.Errorf("after %d minutes: %+v", after, found.Chain)
		}
		if want != "" && (found.Entries[0].Proved || found.Entries[7].Proved || !found.Entries[8].Proved) {
			t.Errorf("what is proved: %+v", found.Entries)
		}
	}
}

func TestTrailTamperedWith(t *testing.T) {
	whole := string(record(t, 6))
	lines := strings.SplitAfter(whole, "\n")
	for _, tt := range []struct {
		name, content, want string
	}{
		{"nothing", whole, ""},
		{"changed", strings.Replace(whole, `"detail":"2"`, `"detail":"5"`, 1), "line 2: its digest is wrong"},
		{"removed", strings.Join(append(append([]string(nil), lines[:2]...), lines[3:]...), ""), "line 3: it does not follow the line before"},
		{"inserted", lines[0] + lines[0] + strings.Join(lines[1:], ""), "line 2: it does not follow the line before"},
		{"swapped", lines[1] + lines[0], "line 1: it does not follow the line before"},
		{"another key", strings.Replace(whole, `{"seq":2`, `{"x":1,"seq":2`, 1), "line 2: its digest is wrong"},
		{"no JSON", lines[0] + "what?\n" + lines[1], "line 2: it is not an entry"},
		{"without end", lines[0] + strings.Repeat("x", 2<<20), "line 2: it is too long"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			trail, _, _ := trailOf(t, []byte(tt.content))
			found := entries(t, trail, ui.EntryQuery{Limit: 100})
			if found.Chain.Broken != tt.want {
				t.Errorf("broken %q, want %q", found.Chain.Broken, tt.want)
			}
			if _, err := audit.Verify(strings.NewReader(tt.content)); (err == nil) != (tt.want == "") {
				t.Errorf("audit.Verify says %v", err)
			}
			for _, e := range found.Entries {
				if proved := e.Seq <= found.Chain.Tail.Seq && e.Action != "?"; e.Proved && !proved {
					t.Errorf("entry %+v counts as proved", e)
				}
			}
		})
	}
}

func TestTrailGone(t *testing.T) {
	whole := record(t, 6)
	for name, tt := range map[string]struct {
		do   func(path string) error
		want string
	}{
		"shorter":  {func(path string) error { return os.Truncate(path, int64(bytes.IndexByte(whole, '\n')+1)) }, "the log is shorter than it was: it had"},
		"gone":     {os.Remove, "the log was there, and is gone"},
		"replaced": {func(path string) error { return os.Rename(path+".other", path) }, "another file is in the place of the log"},
	} {
		t.Run(name, func(t *testing.T) {
			trail, path, c := trailOf(t, whole)
			entries(t, trail, ui.EntryQuery{})
			if err := os.WriteFile(path+".other", whole, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := tt.do(path); err != nil {
				t.Fatal(err)
			}
			for range 2 { // it stays
				if got := entries(t, trail, ui.EntryQuery{}).Chain.Broken; !strings.HasPrefix(got, tt.want) {
					t.Errorf("broken %q, want %q", got, tt.want)
				}
				c.turn(time.Hour)
				if err := trail.Recheck(context.Background()); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
	trail := ui.NewTrail(filepath.Join(t.TempDir(), "none"), func() time.Time { return noon })
	if found := entries(t, trail, ui.EntryQuery{Limit: 1}); found.Chain.Broken != "" || found.Total != 0 {
		t.Errorf("a log that is not there yet: %+v", found)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	trail, _, _ = trailOf(t, whole)
	if _, err := trail.Entries(ctx, ui.EntryQuery{}); err == nil {
		t.Error("nobody waits, and it reads on")
	}
}

func TestAuditPage(t *testing.T) {
	s := newSite(t)
	s.history()
	contains := func(path string, want ...string) {
		t.Helper()
		r := s.get(access.Viewer, path)
		for _, text := range want {
			if r.status != 200 || !strings.Contains(r.body, text) {
				t.Errorf("%s is without %q: %d", path, text, r.status)
			}
		}
	}
	contains("/audit", "<b>The chain holds</b>", "the config was fetched by 10.20.0.9 before", s.audit.Tail().Hash, "2026-03-01 11:56:05 UTC")
	contains("/audit?node=w6", `value="w6"`, "10.20.9.77")
	contains("/audit?node=w8", "Nothing is recorded of “w8”.")
	for i := range 120 {
		if err := s.audit.Record(audit.Event{Node: "w1", Action: "report", Result: "recorded", Detail: fmt.Sprint("number ", i)}); err != nil {
			t.Fatal(err)
		}
	}
	contains("/audit?node=w1", `href="/audit?before=28&amp;node=w1"`, "number 119", "number 20<")
	contains("/audit?before=28&node=w1", "number 19<", "number 0<", `href="/audit?node=w1"`)
	content, err := os.ReadFile(s.log)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.log, bytes.Replace(content, []byte("10.20.9.77"), []byte("10.20.0.99"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	contains("/audit", "<b>The chain holds</b>")
	s.clock.turn(2 * time.Minute)
	contains("/audit?check=1", "<b>The chain does not hold.</b> line 6: its digest is wrong.", "what comes after 5 entries proves nothing")
	contains("/nodes/w1", "The chain of the audit does not prove this entry.")
}

// The trail and package audit agree, whatever is in a log.
func FuzzTrail(f *testing.F) {
	whole := string(record(f, 3))
	f.Add(whole)
	f.Add(strings.Replace(whole, "granted", "refused", 1))
	f.Add(whole + "{}\n")
	f.Fuzz(func(t *testing.T, content string) {
		if content != "" && !strings.HasSuffix(content, "\n") {
			return // on its way, and a fault for audit
		}
		trail, _, _ := trailOf(t, []byte(content))
		found := entries(t, trail, ui.EntryQuery{Limit: 1000})
		tail, err := audit.Verify(strings.NewReader(content))
		if (err == nil) != (found.Chain.Broken == "") || err == nil && tail != found.Chain.Tail {
			t.Errorf("the trail says %+v, audit %+v, %v", found.Chain, tail, err)
		}
	})
}

func BenchmarkTrail(b *testing.B) {
	content := record(b, 100_000)
	for b.Loop() {
		trail, _, _ := trailOf(b, content)
		if got := entries(b, trail, ui.EntryQuery{Node: "none", Limit: 1}).Total; got != 100_000 {
			b.Fatal(got)
		}
	}
	b.ReportMetric(float64(len(content))/1e6, "MB")
	if !json.Valid(content[:bytes.IndexByte(content, '\n')]) {
		b.Fatal("not a log")
	}
}
