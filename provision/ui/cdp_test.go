package ui_test

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"
)

// A browser is a headless Chromium, spoken to in its own protocol through a
// pipe: JSON, each message ended by a zero byte.
type browser struct {
	t  *testing.T
	in io.Writer

	mu      sync.Mutex
	next    int
	answers map[int]chan message
	tabs    map[string]*tab
}

type message struct {
	ID        int             `json:"id,omitempty"`
	Method    string          `json:"method,omitempty"`
	Params    json.RawMessage `json:"params,omitempty"`
	Result    json.RawMessage `json:"result,omitempty"`
	SessionID string          `json:"sessionId,omitempty"`
	Error     *struct {
		Message string `json:"message"`
	} `json:"error,omitempty"`
}

// patience bounds every wait for the browser.
const patience = 20 * time.Second

// startBrowser starts the Chromium of the machine, or skips the test.
func startBrowser(t *testing.T) *browser {
	t.Helper()
	if testing.Short() {
		t.Skip("a browser takes its time")
	}
	var path string
	for _, name := range []string{"chromium-headless-shell", "chromium", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		t.Skip("there is no Chromium: scripts/host-packages.sh test installs one")
	}
	args := []string{
		"--headless", "--remote-debugging-pipe", "--user-data-dir=" + t.TempDir(), "--no-first-run",
		"--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--ignore-certificate-errors",
		"--disable-background-networking", "--disable-component-update", "--no-proxy-server",
	}
	if os.Geteuid() == 0 {
		args = append(args, "--no-sandbox") // it has none for root
	}
	fromTest, toBrowser, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	fromBrowser, toTest, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, args...)
	cmd.ExtraFiles = []*os.File{fromTest, toTest}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	fromTest.Close()
	toTest.Close()
	b := &browser{t: t, in: toBrowser, answers: make(map[int]chan message), tabs: make(map[string]*tab)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b.listen(fromBrowser)
	}()
	t.Cleanup(func() {
		// It ends with its pipe; a browser that does not is killed.
		toBrowser.Close()
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
		}
		_ = cmd.Wait()
		fromBrowser.Close()
	})
	return b
}

func (b *browser) listen(from io.Reader) {
	r := bufio.NewReaderSize(from, 1<<20)
	for {
		raw, err := r.ReadBytes(0)
		if err != nil {
			return
		}
		var m message
		if json.Unmarshal(raw[:len(raw)-1], &m) != nil {
			continue
		}
		b.mu.Lock()
		answer, tab := b.answers[m.ID], b.tabs[m.SessionID]
		delete(b.answers, m.ID)
		b.mu.Unlock()
		switch {
		case m.ID != 0 && answer != nil:
			answer <- m
		case tab != nil:
			tab.heard(m)
		}
	}
}

// call sends a command and decodes its result.
func (b *browser) call(session, method string, params, result any) error {
	raw, err := json.Marshal(params)
	if err != nil {
		return err
	}
	answer := make(chan message, 1)
	b.mu.Lock()
	b.next++
	m := message{ID: b.next, Method: method, Params: raw, SessionID: session}
	b.answers[m.ID] = answer
	text, err := json.Marshal(m)
	if err == nil {
		_, err = b.in.Write(append(text, 0))
	}
	b.mu.Unlock()
	if err != nil {
		return err
	}
	select {
	case m = <-answer:
	case <-time.After(patience):
		return fmt.Errorf("%s: the browser does not answer", method)
	}
	if m.Error != nil {
		return fmt.Errorf("%s: %s", method, m.Error.Message)
	}
	if result == nil {
		return nil
	}
	return json.Unmarshal(m.Result, result)
}

// A tab is a page with cookies of its own.
type tab struct {
	t       *testing.T
	b       *browser
	session string

	mu sync.Mutex
	// complaints are what the console has: errors, and what the content security
	// policy kept from happening.
	complaints []string
	// loaded has the loader of each page that is there.
	loaded chan string
}

type object map[string]any

// look is how a tab looks at pages.
type look struct {
	Width, Height int
	Dark          bool
	NoScript      bool
	Still         bool
}

func (b *browser) tab(t *testing.T, l look) *tab {
	t.Helper()
	var made struct{ BrowserContextID, TargetID, SessionID string }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(b.call("", "Target.createBrowserContext", object{}, &made))
	must(b.call("", "Target.createTarget", object{"url": "about:blank", "browserContextId": made.BrowserContextID}, &made))
	must(b.call("", "Target.attachToTarget", object{"targetId": made.TargetID, "flatten": true}, &made))
	tb := &tab{t: t, b: b, session: made.SessionID, loaded: make(chan string, 100)}
	b.mu.Lock()
	b.tabs[tb.session] = tb
	b.mu.Unlock()
	t.Cleanup(func() {
		_ = b.call("", "Target.disposeBrowserContext", object{"browserContextId": made.BrowserContextID}, nil)
		if tb.mu.Lock(); len(tb.complaints) > 0 {
			t.Errorf("the browser complains: %q", tb.complaints)
		}
		tb.mu.Unlock()
	})
	if l.Width == 0 {
		l.Width, l.Height = 1280, 900
	}
	scheme, motion := "light", "no-preference"
	if l.Dark {
		scheme = "dark"
	}
	if l.Still {
		motion = "reduce"
	}
	for method, params := range map[string]object{
		"Page.enable":                    {},
		"Page.setLifecycleEventsEnabled": {"enabled": true},
		"Runtime.enable":                 {},
		"Log.enable":                     {},
		"Emulation.setDeviceMetricsOverride": {
			"width": l.Width, "height": l.Height, "deviceScaleFactor": 1, "mobile": false,
		},
		"Emulation.setEmulatedMedia": {"features": []object{
			{"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": motion},
		}},
		"Emulation.setScriptExecutionDisabled": {"value": l.NoScript},
		"Emulation.setFocusEmulationEnabled":   {"enabled": true},
	} {
		must(b.call(tb.session, method, params, nil))
	}
	return tb
}

func (tb *tab) heard(m message) {
	var p struct {
		Name, LoaderID   string
		Entry            struct{ Level, Text string }
		ExceptionDetails struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	_ = json.Unmarshal(m.Params, &p)
	tb.mu.Lock()
	defer tb.mu.Unlock()
	switch m.Method {
	case "Page.lifecycleEvent":
		if p.Name == "load" {
			select {
			case tb.loaded <- p.LoaderID:
			default:
			}
		}
	case "Log.entryAdded":
		if p.Entry.Level == "error" || p.Entry.Level == "warning" {
			tb.complaints = append(tb.complaints, p.Entry.Text)
		}
	case "Runtime.exceptionThrown":
		tb.complaints = append(tb.complaints, p.ExceptionDetails.Text+" "+p.ExceptionDetails.Exception.Description)
	}
}

// pardon takes the complaints, for a test that means to have some.
func (tb *tab) pardon() []string {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	complaints := tb.complaints
	tb.complaints = nil
	return complaints
}

func (tb *tab) call(method string, params object, result any) {
	tb.t.Helper()
	if err := tb.b.call(tb.session, method, params, result); err != nil {
		tb.t.Fatal(err)
	}
}

// open goes to a URL and waits until it is there.
func (tb *tab) open(url string) {
	tb.t.Helper()
	var r struct{ LoaderID, ErrorText string }
	if tb.call("Page.navigate", object{"url": url}, &r); r.ErrorText != "" {
		tb.t.Fatalf("opening %s: %s", url, r.ErrorText)
	}
	tb.wait(func(loader string) bool { return loader == r.LoaderID })
}

// andWait waits for the page that do leads to.
func (tb *tab) andWait(do func()) {
	tb.t.Helper()
	for len(tb.loaded) > 0 {
		<-tb.loaded
	}
	do()
	tb.wait(func(string) bool { return true })
}

func (tb *tab) wait(is func(loader string) bool) {
	tb.t.Helper()
	late := time.After(patience)
	for {
		select {
		case loader := <-tb.loaded:
			if is(loader) {
				return
			}
		case <-late:
			tb.t.Fatal("no page is there")
		}
	}
}

// eval returns the value of an expression. It runs also where pages have no
// scripts, and under whatever policy.
func (tb *tab) eval(expression string, into any) {
	tb.t.Helper()
	if err := tb.tryEval(expression, into); err != nil {
		tb.t.Fatal(err)
	}
}

func (tb *tab) tryEval(expression string, into any) error {
	var r struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	err := tb.b.call(tb.session, "Runtime.evaluate", object{
		"expression": expression, "returnByValue": true, "awaitPromise": true, "allowUnsafeEvalBlockedByCSP": true,
	}, &r)
	if err != nil {
		return err
	}
	if r.ExceptionDetails != nil {
		return errors.New(r.ExceptionDetails.Text + " " + r.ExceptionDetails.Exception.Description)
	}
	return json.Unmarshal(r.Result.Value, into)
}

// text is what the page shows of the first element of a selector.
func (tb *tab) text(selector string) string {
	tb.t.Helper()
	var s string
	tb.eval(fmt.Sprintf("document.querySelector(%q)?.innerText ?? '(nothing)'", selector), &s)
	return s
}

// until waits for an expression to be true.
func (tb *tab) until(expression string) {
	tb.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		var ok bool
		if tb.tryEval("!!("+expression+")", &ok) == nil && ok {
			return
		}
	}
	tb.t.Fatalf("never: %s\n%s", expression, tb.text("main"))
}

// key presses a key: Tab, Enter, or a space.
func (tb *tab) key(name string) {
	tb.t.Helper()
	codes := map[string]struct {
		code int
		text string
	}{"Tab": {9, ""}, "Enter": {13, "\r"}, " ": {32, " "}, "ArrowDown": {40, ""}}
	k, ok := codes[name]
	if !ok {
		tb.t.Fatalf("there is no key %q", name)
	}
	down := object{"type": "keyDown", "key": name, "code": name, "windowsVirtualKeyCode": k.code}
	if k.text != "" {
		down["text"] = k.text
	}
	tb.call("Input.dispatchKeyEvent", down, nil)
	tb.call("Input.dispatchKeyEvent", object{"type": "keyUp", "key": name, "code": name, "windowsVirtualKeyCode": k.code}, nil)
}

// write types a text where the focus is.
func (tb *tab) write(text string) {
	tb.t.Helper()
	tb.call("Input.insertText", object{"text": text}, nil)
}

// screenshot returns the whole page as PNG.
func (tb *tab) screenshot() []byte {
	tb.t.Helper()
	var r struct{ Data string }
	tb.call("Page.captureScreenshot", object{"format": "png", "captureBeyondViewport": true}, &r)
	b, err := base64.StdEncoding.DecodeString(r.Data)
	if err != nil {
		tb.t.Fatal(err)
	}
	return b
}
