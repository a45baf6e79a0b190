package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/k8snode/k8snode/agent/client"
	"github.com/k8snode/k8snode/agent/command"
	"github.com/k8snode/k8snode/agent/disk"
	"github.com/k8snode/k8snode/agent/disk/disktest"
	agentinstall "github.com/k8snode/k8snode/agent/install"
	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/provision/admin"
	"github.com/k8snode/k8snode/provision/api"
)

// row is a line of a table of docs/benchmarks.md, which scripts/bench.sh looks for.
func row(t *testing.T, cells ...any) {
	t.Helper()
	var b strings.Builder
	for _, c := range cells {
		if f, ok := c.(float64); ok {
			c = strconv.FormatFloat(f, 'f', 1, 64)
		}
		fmt.Fprintf(&b, "| %v ", c)
	}
	t.Logf("row %s|", b.String())
}

// TestServing measures what a server costs that sends images: bytes for each second
// that its process had a processor, and not for each second that the reader took.
func TestServing(t *testing.T) {
	s, m := bareSite(t)
	artifact, ok := m.Artifact(images.DiskFile)
	if !ok {
		t.Fatal("the image has no disk")
	}
	url := fmt.Sprintf("http://%s:8080/artifacts/%s/%s", s.address, m.ID, images.DiskFile)
	reader := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			return s.dial(ctx, s.places[0].Address, address)
		},
		ReadBufferSize: 1 << 20, DisableCompression: true,
	}}
	fetch := func(rangeHeader string, want int) (int64, error) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			return 0, err
		}
		if rangeHeader != "" {
			req.Header.Set("Range", rangeHeader)
			req.Header.Set("If-Range", `"`+artifact.SHA256+`"`)
		}
		resp, err := reader.Do(req)
		if err != nil {
			return 0, err
		}
		defer resp.Body.Close()
		if resp.StatusCode != want || resp.Header.Get("ETag") != `"`+artifact.SHA256+`"` {
			return 0, fmt.Errorf("%s %q: %s, ETag %s", url, rangeHeader, resp.Status, resp.Header.Get("ETag"))
		}
		return io.CopyBuffer(struct{ io.Writer }{io.Discard}, resp.Body, make([]byte, 1<<20))
	}
	whole := func(int) (int64, error) { return fetch("", http.StatusOK) }
	const span = agentinstall.DefaultSpanLimit
	parts := func(int) (total int64, err error) {
		for at := int64(0); at < artifact.Size && err == nil; at += span {
			var n int64
			n, err = fetch(fmt.Sprintf("bytes=%d-%d", at, min(at+span, artifact.Size)-1), http.StatusPartialContent)
			total += n
		}
		return total, err
	}
	// The first reading fills the cache of the kernel, and is checked against the
	// digest by the server.
	if _, err := whole(0); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		readers int
		read    func(int) (int64, error)
	}{
		{"whole, one reader", 1, whole},
		{"whole, 8 readers", 8, whole},
		{"ranges of 64 MiB, one reader", 1, parts},
		{"ranges of 64 MiB, 8 readers", 8, parts},
	} {
		before, began := s.processorTime(t), time.Now()
		errs, sizes := make([]error, tt.readers), make([]int64, tt.readers)
		var all sync.WaitGroup
		for i := range tt.readers {
			all.Go(func() { sizes[i], errs[i] = tt.read(i) })
		}
		all.Wait()
		took, used := time.Since(began).Seconds(), (s.processorTime(t) - before).Seconds()
		must(t, errors.Join(errs...))
		var bytes int64
		for _, n := range sizes {
			if n != artifact.Size {
				t.Errorf("%s: a reader had %d bytes, want %d", tt.name, n, artifact.Size)
			}
			bytes += n
		}
		mb := float64(bytes) / 1e6
		row(t, tt.name, int(mb), mb/took, used, int(mb/used))
		if mb/used < 1000 {
			t.Errorf("%s: %.0f MB for a second of a processor, want 1000", tt.name, mb/used)
		}
	}
}

// TestInstalling measures an install from a server against what writes every byte of
// the same image: curl, zstd and dd.
func TestInstalling(t *testing.T) {
	s, m := bareSite(t)
	node := s.places[len(s.places)-1]
	// Whatever does not say where it comes from, comes from the machine.
	run(t, "ip", "-n", s.network.Name(), "route", "replace", "local", "10.64.0.0/16", "dev", "lo", "src", node.Address.String())
	_, err := admin.NewClient(s.socket).Arm(t.Context(), node.Name, admin.ArmOptions{For: time.Hour})
	must(t, err)
	raw, ok := m.Artifact(images.RawFile)
	if !ok {
		t.Fatal("the image has no raw disk")
	}
	dir := t.TempDir()

	// 1. Every byte.
	target := filepath.Join(dir, "dd")
	began := time.Now()
	url := fmt.Sprintf("http://%s:8080/artifacts/%s/%s", s.address, m.ID, images.DiskFile)
	cmd := s.network.Command(t.Context(), "sh", "-ec", `curl --silent --fail "$1" | zstd --decompress --stdout | dd of="$2" bs=1M iflag=fullblock conv=fsync status=none`, "sh", url, target)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	plain := time.Since(began).Seconds()
	info, err := os.Stat(target)
	must(t, err)
	if info.Size() != raw.Size {
		t.Fatalf("dd wrote %d bytes, want %d", info.Size(), raw.Size)
	}
	must(t, os.Remove(target))
	row(t, "curl, zstd, dd with fsync", plain, int(float64(info.Size())/1e6), "no")

	// 2. The agent, which verifies, and reads back.
	seedURL := fmt.Sprintf("http://%s:8080/seed/machine.cpio?mac=%s", s.address, node.MAC)
	archive, err := s.network.Command(t.Context(), "curl", "--silent", "--fail", seedURL).Output()
	must(t, err)
	seed := archive[bytes.IndexByte(archive, '{') : bytes.LastIndexByte(archive, '}')+1]
	must(t, os.WriteFile(filepath.Join(dir, "seed.json"), seed, 0o600))
	cmd = s.network.Command(t.Context(), os.Args[0], "-test.run", "^TestInstallHere$", "-test.v")
	cmd.Env = append(os.Environ(), installHere+"="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var got installed
	must(t, json.Unmarshal([]byte(read(t, filepath.Join(dir, "installed.json"))), &got))
	row(t, "the agent", got.Seconds, int(float64(got.Written)/1e6), "yes")
	row(t, "ratio", plain/got.Seconds, fmt.Sprintf("%.2f", float64(info.Size())/float64(got.Written)), "")
	if got.Written > raw.Size/2 {
		t.Errorf("the agent wrote %d bytes of %d", got.Written, raw.Size)
	}
}

// installHere names, in the environment of a second process in the server's network,
// the folder with the seed.
const installHere = "K8SNODE_TEST_INSTALL"

type installed struct {
	Seconds float64
	// Written are the bytes of writes, Zeroed those that the device makes.
	Written, Zeroed int64
}

// TestInstallHere is the second half of TestInstalling, not a test of its own.
func TestInstallHere(t *testing.T) {
	dir := os.Getenv(installHere)
	if dir == "" {
		t.Skip("it is a part of TestInstalling")
	}
	var seed api.Seed
	must(t, json.Unmarshal([]byte(read(t, filepath.Join(dir, "seed.json"))), &seed))
	server, err := client.New(seed, client.Options{})
	must(t, err)
	const size = 24 << 30
	root := disktest.Machine(t, disktest.Disk{Name: "sda", Serial: "S1", Size: 4096})
	must(t, os.Truncate(filepath.Join(root, "dev/sda"), size))
	write(t, filepath.Join(root, "sys/block/sda/size"), strconv.Itoa(size/512)+"\n")
	tools := t.TempDir()
	for _, name := range []string{"sgdisk", "udevadm"} {
		write(t, filepath.Join(tools, name), "#!/bin/sh\n")
		must(t, os.Chmod(filepath.Join(tools, name), 0o755))
	}
	var counted *counter
	began := time.Now()
	must(t, agentinstall.Run(t.Context(), agentinstall.Options{
		Client: server, Root: root, Runner: command.Runner{Dir: tools}, DiskWait: -1, Console: os.Stderr,
		Open: func(path string) (disk.Target, error) {
			target, err := disk.Open(path)
			if err != nil {
				return nil, err
			}
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				return nil, errors.Join(err, target.Close())
			}
			counted = &counter{Target: target, file: f}
			return counted, nil
		},
	}))
	result, err := json.Marshal(installed{time.Since(began).Seconds(), counted.written, counted.zeroed})
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "installed.json"), result, 0o600))
}

// counter counts what is written to a file. Zeros are the device's to make
// (BLKZEROOUT), and here the file system's.
type counter struct {
	disk.Target
	file            *os.File
	mu              sync.Mutex
	written, zeroed int64
}

func (c *counter) WriteAt(b []byte, at int64) (int, error) {
	n, err := c.Target.WriteAt(b, at)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.written += int64(n)
	return n, err
}

func (c *counter) Zero(_ context.Context, offset, length int64) error {
	c.mu.Lock()
	c.zeroed += length
	c.mu.Unlock()
	return unix.Fallocate(int(c.file.Fd()), unix.FALLOC_FL_ZERO_RANGE|unix.FALLOC_FL_KEEP_SIZE, offset, length)
}

func (c *counter) Close() error { return errors.Join(c.file.Close(), c.Target.Close()) }

// bareSite is a server with the image, and a few nodes that do nothing by themselves.
func bareSite(t *testing.T) (*provisioningSite, images.Manifest) {
	t.Helper()
	if *image == "" || *k8snode == "" {
		t.Skip("no -image or no -k8snode: make test passes them")
	}
	m, err := images.OpenManifest(*image)
	must(t, err)
	s := newSite(t, 4)
	s.start(t)
	t.Cleanup(func() {
		_ = s.process.Process.Kill()
		_ = s.process.Wait() // it was killed
	})
	must(t, s.answers(t.Context(), admin.NewClient(s.socket)))
	return s, m
}

// processorTime is what the server's process has used so far: proc(5), utime and
// stime, in the hundredths of a second that the kernel shows.
func (s *provisioningSite) processorTime(t *testing.T) time.Duration {
	t.Helper()
	stat := read(t, fmt.Sprintf("/proc/%d/stat", s.process.Process.Pid))
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	var ticks int
	for _, f := range slices.Concat(fields[11:12], fields[12:13]) {
		n, err := strconv.Atoi(f)
		must(t, err)
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}
