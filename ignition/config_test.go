package ignition_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/k8snode/k8snode/ignition"
)

const small = `{"ignition":{"version":"3.4.0"},"passwd":{"users":[{"name":"secret"}]}}`

func TestConfig(t *testing.T) {
	content := []byte(small)
	c, err := ignition.New(content)
	if err != nil {
		t.Fatal(err)
	}
	clear(content)
	clear(c.Bytes())
	if got := string(c.Bytes()); got != small {
		t.Errorf("config changed to %q", got)
	}
	if got := c.Spec(); got != "3.4.0" {
		t.Errorf("spec is %q", got)
	}
	if got, want := c.Digest(), "c291e2868fd3ad55e66cdc51e3a715ec423c4a924e88e7f1fd005465141db3c8"; got != want {
		t.Errorf("digest is %s, want %s", got, want)
	}
}

func TestConfigIsNotPrinted(t *testing.T) {
	c, err := ignition.New([]byte(small))
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("config", "config", c)
	for _, text := range []string{log.String(), fmt.Sprint(c), fmt.Sprintf("%v %+v %#v", c, c, c)} {
		if strings.Contains(text, "secret") {
			t.Errorf("content is printed: %s", text)
		}
	}
	if !strings.Contains(log.String(), c.Digest()) {
		t.Errorf("log has no digest: %s", log.String())
	}
}

func TestNewErrors(t *testing.T) {
	tests := []struct {
		name, content, want string
	}{
		{"empty", "", "it is empty"},
		{"not JSON", "ignition:", "invalid character 'i' looking for beginning of value"},
		{"two objects", small + small, "invalid character '{' after top-level value"},
		{"no version", "{}", "it declares no ignition.version"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := ignition.New([]byte(test.content))
			if want := "reading Ignition config: " + test.want; err == nil || err.Error() != want {
				t.Errorf("error is %v, want %s", err, want)
			}
		})
	}
}
