package access_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/k8snode/k8snode/provision/access"
)

func TestParseTokens(t *testing.T) {
	a, b := sum("a"), sum("b")
	token := "k8snode_" + strings.Repeat("A", 43)
	for _, tt := range []struct{ name, content, want string }{
		{"empty", "", ""},
		{"good", "# who may do what\n\n alice\toperator " + a + "\r\nbob viewer " + strings.ToUpper(b), ""},
		{"two tokens of one", "alice operator " + a + "\nalice operator " + b, ""},
		{"two words", "alice operator", "reading the tokens: t:1:1: the line has 2 words (write: NAME ROLE SHA256-OF-TOKEN)"},
		{"four words", "\nalice operator " + a + " x", "reading the tokens: t:2:1: the line has 4 words (write: NAME ROLE SHA256-OF-TOKEN)"},
		{"no name", "-x operator " + a, "reading the tokens: t:1:1: the first word is not a name (use letters, digits and . _ @ -, at most 64)"},
		{"no role", "alice root " + a, "reading the tokens: t:1:1: the second word is not a role (use viewer or operator)"},
		{"no digest", "alice viewer 1234", "reading the tokens: t:1:1: the third word is not a SHA-256 (it has 64 hexadecimal digits)"},
		{"a token", "alice viewer " + token, "reading the tokens: t:1:1: the line has a token (write its SHA-256 instead, and think about who has read it: a new token is better)"},
		{"a token of two", "alice viewer " + a + "\nbob viewer " + a, `reading the tokens: t:2:1: the token is also that of "alice" (give everybody a token of their own)`},
		{"two roles", "alice viewer " + a + "\nalice operator " + b, `reading the tokens: t:2:1: "alice" is also viewer (give a name one role)`},
		{"all at once", "x\n" + token + " viewer\n", "reading the tokens: t:1:1: the line has 1 words (write: NAME ROLE SHA256-OF-TOKEN)\nt:2:1: the line has a token (write its SHA-256 instead, and think about who has read it: a new token is better)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := access.ParseTokens("t", []byte(tt.content))
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestOpenTokens(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	if _, err := access.OpenTokens(path); err == nil || !strings.HasPrefix(err.Error(), "reading the tokens: ") {
		t.Errorf("no file: %v", err)
	}
	if err := os.WriteFile(path, []byte("alice viewer "+sum("a")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	want := "reading the tokens: " + path + " has the mode 0644, so others can use it: chmod 600 " + path
	if _, err := access.OpenTokens(path); err == nil || err.Error() != want {
		t.Errorf("open to others: %v, want %s", err, want)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := access.OpenTokens(path); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(path, make([]byte, 2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := access.OpenTokens(path); err == nil || !strings.Contains(err.Error(), "more than 1048576 bytes") {
		t.Errorf("a large file: %v", err)
	}
	if _, err := access.OpenTokens(t.TempDir()); err == nil {
		t.Error("a folder is a file of tokens")
	}
}

// What is accepted is a line of the form that NewToken writes, whatever else is
// in the file; no error repeats a token.
func FuzzParseTokens(f *testing.F) {
	f.Add("alice operator " + sum("a"))
	f.Add("# x\nalice viewer " + sum("a") + "\nbob viewer k8snode_" + strings.Repeat("A", 43))
	f.Fuzz(func(t *testing.T, content string) {
		_, err := access.ParseTokens("t", []byte(content))
		if err == nil {
			for line := range strings.SplitSeq(content, "\n") {
				words := strings.Fields(line)
				if len(words) > 0 && !strings.HasPrefix(words[0], "#") && (len(words) != 3 || len(words[2]) != 64) {
					t.Errorf("%q was accepted", line)
				}
			}
			return
		}
		for word := range strings.FieldsSeq(content) {
			if strings.HasPrefix(word, "k8snode_") && len(word) == 51 && strings.Contains(err.Error(), "has a token") && strings.Contains(err.Error(), word) {
				t.Errorf("the error has a token: %v", err)
			}
		}
	})
}
