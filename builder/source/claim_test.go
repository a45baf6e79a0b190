package source_test

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/k8snode/k8snode/builder/source"
)

// claimer is the environment variable that makes this test a process that
// claims a cache, says where its work folder is, and waits to be ended.
const claimer = "K8SNODE_TEST_CLAIM"

func TestMain(m *testing.M) {
	if dir := os.Getenv(claimer); dir != "" {
		os.Exit(claim(dir))
	}
	os.Exit(m.Run())
}

func claim(dir string) int {
	c, release, err := source.Cache{Dir: dir}.Claim()
	if err != nil {
		return 1
	}
	defer release()
	work, err := c.WorkDir("step")
	if err != nil {
		return 1
	}
	if err := os.WriteFile(filepath.Join(work, "half"), []byte("of it"), 0o600); err != nil {
		return 1
	}
	if _, err := os.Stdout.WriteString(work + "\n"); err != nil {
		return 1
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

// start runs a process that has claimed a cache, and returns its work folder.
func start(t *testing.T, dir string) (cmd *exec.Cmd, stdin io.Closer, work string) {
	t.Helper()
	cmd = exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), claimer+"="+dir)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return cmd, in, strings.TrimSpace(line)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, os.ErrNotExist)
}

// The work of a process that was killed is removed by the next one, that of
// one that lives is not.
func TestClaim(t *testing.T) {
	dir := t.TempDir()
	killed, _, dead := start(t, dir)
	_, _, alive := start(t, dir)
	ended, stdin, done := start(t, dir)
	if err := stdin.Close(); err != nil {
		t.Fatal(err)
	}
	if err := ended.Wait(); err != nil {
		t.Fatal(err)
	}
	if exists(done) {
		t.Error("a process that ended left its work folder")
	}
	if err := killed.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = killed.Wait() // it was killed
	if !exists(dead) {
		t.Fatal("who removed the work folder of a dead process?")
	}

	c, release, err := source.Cache{Dir: dir}.Claim()
	if err != nil {
		t.Fatal(err)
	}
	if exists(dead) {
		t.Error("the work folder of a dead process is still there")
	}
	if !exists(filepath.Join(alive, "half")) {
		t.Error("the work folder of a living process was removed")
	}
	work, err := c.WorkDir("step")
	if err != nil {
		t.Fatal(err)
	}
	if filepath.Dir(filepath.Dir(work)) != filepath.Join(dir, "work") {
		t.Errorf("works in %s", work)
	}
	// What is finished stays.
	sum := source.SumBytes([]byte("good"))
	if _, err := c.Fetch(t.Context(), "p", sum, opener("good")); err != nil {
		t.Fatal(err)
	}
	release()
	if exists(work) || !c.Has(sum) {
		t.Errorf("after it: work folder %v, finished file %v", exists(work), c.Has(sum))
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "work", "*")); len(left) != 2 {
		t.Errorf("in the work folder are %v, want those two of the living process", left)
	}
}

func TestClaimImpossible(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := (source.Cache{Dir: file}).Claim(); err == nil || !strings.HasPrefix(err.Error(), "using the cache: ") {
		t.Errorf("error %v", err)
	}
}
