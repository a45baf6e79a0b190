package cli_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/k8snode/k8snode/builder"
	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/internal/cli"
	"github.com/k8snode/k8snode/internal/report"
)

func TestPrintError(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(file, []byte("a: b\nc: d\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	problems := func(file string, n int) report.Problems {
		list := report.Problems{
			{File: file, Line: 1, Col: 4, Path: "a", Message: "odd", Remedy: "write x"},
			{File: file, Line: 2, Col: 1, Message: "odd, too"},
		}
		return list[:n]
	}
	const first = "error[a]: odd\n  --> FILE:1:4\n  |\n1 | a: b\n  |    ^\n  remedy: write x\n\n"
	for _, tt := range []struct {
		name string
		err  error
		want string
	}{
		{"one", problems(file, 1), first + "k8snode: error: 1 problem in FILE\n"},
		{
			"two, behind another error", fmt.Errorf("reading: %w", problems(file, 2)),
			first + "error: odd, too\n  --> FILE:2:1\n  |\n1 | a: b\n2 | c: d\n  | ^\n\nk8snode: error: 2 problems in FILE\n",
		},
		{
			"in a file that is gone", problems("no-such-file", 1),
			"error[a]: odd\n  --> no-such-file:1:4\n  remedy: write x\n\nk8snode: error: 1 problem in no-such-file\n",
		},
		{"no problems", io.ErrUnexpectedEOF, "k8snode: error: unexpected EOF\n"},
		{
			"in two files", append(problems(file, 1), problems("no-such-file", 1)...),
			first + "error[a]: odd\n  --> no-such-file:1:4\n  remedy: write x\n\nk8snode: error: 2 problems in FILE, no-such-file\n",
		},
		// What a library says must not look like a wrong command line.
		{"of a library", fmt.Errorf("unknown command %q", "x"), "k8snode: error: unknown command \"x\"\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var stderr bytes.Buffer
			if code := (cli.Env{Stderr: &stderr}).PrintError(tt.err); code != 1 {
				t.Errorf("exit code %d, want 1", code)
			}
			if diff := cmp.Diff(tt.want, strings.ReplaceAll(stderr.String(), file, "FILE")); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestColour(t *testing.T) {
	problem := report.Problems{{File: "no-such-file", Line: 1, Col: 1, Message: "odd"}}
	for _, tt := range []struct {
		name    string
		environ []string
		want    string
	}{
		{"terminal", nil, "\x1b[1;31merror\x1b[0m: odd\r\n"},
		{"empty NO_COLOR", []string{"NO_COLOR="}, "\x1b[1;31merror\x1b[0m: odd\r\n"},
		{"NO_COLOR", []string{"NO_COLOR=1"}, "error: odd\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			keyboard, terminal := openTerminal(t)
			cli.Env{Stderr: terminal, Environ: tt.environ}.PrintError(problem)
			got := make([]byte, len(tt.want))
			if _, err := io.ReadFull(keyboard, got); err != nil {
				t.Fatal(err)
			}
			if string(got) != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// Whoever meets a verb for the first time copies its example.
func TestEveryVerbHasExamples(t *testing.T) {
	var check func(*cobra.Command)
	seen := 0
	check = func(cmd *cobra.Command) {
		if cmd.Name() == "completion" {
			return // its scripts are cobra's, and so is its help
		}
		seen++
		if !strings.HasPrefix(cmd.Example, "  k8snode ") {
			t.Errorf("%s has the examples %q", cmd.CommandPath(), cmd.Example)
		}
		for _, sub := range cmd.Commands() {
			check(sub)
		}
	}
	check(cli.NewRoot(cli.Env{}))
	if seen < 10 {
		t.Errorf("found %d verbs", seen)
	}
}

func TestSize(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1 KiB", 1<<20 - 1: "1023 KiB", 1 << 20: "1 MiB", 5 << 30: "5120 MiB",
	} {
		if got := cli.Size(n); got != want {
			t.Errorf("%d: got %s, want %s", n, got, want)
		}
	}
}

func TestPrintBake(t *testing.T) {
	var out bytes.Buffer
	err := cli.PrintBake(&out, "out/node", builder.Result{
		Manifest: images.Manifest{
			ID: "0123", Kernel: "7.1.2-amd64",
			Artifacts: []images.Artifact{
				{Path: "disk.raw.zst", Size: 700 << 20, SHA256: "aaaa"},
				{Path: "pxe/vmlinuz", Size: 9000, SHA256: "bbbb"},
			},
		},
		Timings: []builder.Timing{
			{Step: "lock and fetch", Took: 2300 * time.Millisecond},
			{Step: "base", Took: 100 * time.Millisecond, Cached: true},
		},
	}, 2350*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	const want = `STEP            TIME
lock and fetch  2.3 s
base            cached
total           2.4 s

ARTIFACT               SIZE     SHA256
out/node/disk.raw.zst  700 MiB  aaaa
out/node/pxe/vmlinuz   8 KiB    bbbb

image 0123, kernel 7.1.2-amd64
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// "k8snode init" writes the version of the image that "k8snode bake" makes.
func TestInitVersion(t *testing.T) {
	loaded, err := images.Load("node", images.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range loaded.Recipe.Spec.Modules {
		if m.Module == "k8s.io/kubernetes" {
			if m.Version != cli.KubernetesVersion {
				t.Errorf("init writes %s, the recipe has %s", cli.KubernetesVersion, m.Version)
			}
			return
		}
	}
	t.Error("the recipe has no Kubernetes")
}
