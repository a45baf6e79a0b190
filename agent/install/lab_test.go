package install_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/k8snode/k8snode/agent/client"
	"github.com/k8snode/k8snode/agent/command"
	"github.com/k8snode/k8snode/agent/disk"
	"github.com/k8snode/k8snode/agent/disk/disktest"
	"github.com/k8snode/k8snode/agent/install"
	"github.com/k8snode/k8snode/agent/retry"
	"github.com/k8snode/k8snode/agent/seed"
	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/provision/api"
)

const (
	mib       = 1 << 20
	blockSize = 512 << 10
	imageSize = 8 * mib
	diskSize  = 12 * mib
	token     = "the-token-of-the-seed"
	stub      = `{"ignition":{"version":"3.4.0"}}`
)

// A lab is a server with an image, a machine with disks, and what they saw.
type lab struct {
	t      *testing.T
	image  []byte // raw
	stored []byte
	blocks images.BlockMap
	seedAt int64
	sector int
	plan   api.InstallPlan
	// manifest and signature are served when the plan has their addresses.
	manifest, signature []byte

	root  string
	tools string
	opts  install.Options

	console bytes.Buffer

	mu      sync.Mutex
	reports []api.Report
	ranges  []string
	// serveDisk, servePlan and serveSignature replace the handlers when they are
	// set.
	serveDisk                 func(w http.ResponseWriter, r *http.Request, request int)
	servePlan, serveSignature http.HandlerFunc
}

// newLab makes an image with a gap, a seed partition at seedAt and one disk
// that it fits on.
func newLab(t *testing.T, seedAt int64, disks ...disktest.Disk) *lab {
	t.Helper()
	l := &lab{t: t, seedAt: seedAt, sector: disk.SectorSize, tools: t.TempDir()}
	if len(disks) == 0 {
		disks = []disktest.Disk{{Name: "sda", Serial: "S1", Size: diskSize}}
	}
	l.root = disktest.Machine(t, disks...)
	l.makeImage()
	l.tool("udevadm", "exit 0")

	files := httptest.NewServer(http.HandlerFunc(l.serveFile))
	t.Cleanup(files.Close)
	server := httptest.NewTLSServer(http.HandlerFunc(l.serveMachine))
	t.Cleanup(server.Close)

	l.plan = api.InstallPlan{
		Node: "w1",
		Image: api.InstallImage{
			ID: "image-1", DiskURL: files.URL + "/disk", BlockMapURL: files.URL + "/blockmap",
			BlockMapSHA256: digest(l.blockMap()),
		},
		Stub: []byte(stub),
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	l.opts = install.Options{
		Client:   l.client(api.Seed{Node: "w1", Server: server.URL, CA: string(ca), Token: token}),
		Root:     l.root,
		Runner:   command.Runner{Dir: l.tools},
		Retry:    retry.Policy{First: time.Millisecond, Max: 5 * time.Millisecond, Limit: 20 * time.Second},
		DiskWait: -1,
		Reports:  client.ReporterOptions{Interval: time.Millisecond, FinalLimit: time.Second},
		Console:  &l.console,
	}
	return l
}

func (l *lab) client(s api.Seed) *client.Client {
	l.t.Helper()
	c, err := client.New(s, client.Options{Timeout: 5 * time.Second, Idle: 300 * time.Millisecond})
	if err != nil {
		l.t.Fatal(err)
	}
	return c
}

func (l *lab) makeImage() {
	l.image = make([]byte, imageSize)
	random := rand.NewChaCha8([32]byte{1})
	for _, block := range []int{1, 3, 6, 7, 8, 9, 15} {
		random.Read(l.image[block*blockSize : (block+1)*blockSize])
	}
	// Boot code and more in the first block.
	random.Read(l.image[:440])
	table := disktest.GPTOf(l.sector, [16]byte{}, disktest.Partition{Label: images.LabelSeed, Start: l.seedAt, Size: 64 << 10})
	copy(l.image[440:], table[440:])
	random.Read(l.image[200<<10 : 300<<10])
	clear(l.image[l.seedAt : l.seedAt+64<<10])

	encoder, err := zstd.NewWriter(nil)
	if err != nil {
		l.t.Fatal(err)
	}
	defer encoder.Close()
	l.stored, l.blocks = nil, images.BlockMap{Version: 1, Size: imageSize}
	if l.sector != disk.SectorSize {
		l.blocks.SectorSize = l.sector
	}
	for at := int64(0); at < imageSize; at += blockSize {
		raw := l.image[at : at+blockSize]
		if bytes.Equal(raw, make([]byte, blockSize)) {
			continue
		}
		frame := encoder.EncodeAll(raw, nil)
		l.blocks.Blocks = append(l.blocks.Blocks, images.Block{
			Offset: at, Length: blockSize, SHA256: digest(raw),
			StoredOffset: int64(len(l.stored)), StoredLength: int64(len(frame)),
		})
		l.stored = append(l.stored, frame...)
	}
}

// large makes the image one for sectors of 4096 bytes.
func (l *lab) large() {
	l.sector = disk.LargeSector
	l.makeImage()
	l.plan.Image.BlockMapSHA256 = digest(l.blockMap())
}

func (l *lab) blockMap() []byte {
	data, err := json.Marshal(l.blocks)
	if err != nil {
		l.t.Fatal(err)
	}
	return data
}

// tool makes a fake program.
func (l *lab) tool(name, body string) {
	l.t.Helper()
	script := "#!/bin/sh\n" + body + "\n"
	if err := os.WriteFile(filepath.Join(l.tools, name), []byte(script), 0o755); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) serveFile(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "" {
		l.t.Errorf("%s was asked for with a token", r.URL)
	}
	switch r.URL.Path {
	case "/blockmap":
		w.Write(l.blockMap())
	case "/manifest":
		w.Write(l.manifest)
	case "/signature":
		if l.serveSignature != nil {
			l.serveSignature(w, r)
			return
		}
		w.Write(l.signature)
	case "/disk":
		l.mu.Lock()
		l.ranges = append(l.ranges, r.Header.Get("Range"))
		request := len(l.ranges)
		l.mu.Unlock()
		if l.serveDisk != nil {
			l.serveDisk(w, r, request)
			return
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(l.stored))
	default:
		http.NotFound(w, r)
	}
}

func (l *lab) serveMachine(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer "+token {
		http.Error(w, "no token", http.StatusUnauthorized)
		return
	}
	switch r.Method + " " + r.URL.Path {
	case "GET " + api.PathInstall:
		if l.servePlan != nil {
			l.servePlan(w, r)
			return
		}
		json.NewEncoder(w).Encode(l.plan)
	case "POST " + api.PathReport:
		var report api.Report
		if err := json.NewDecoder(r.Body).Decode(&report); err != nil {
			l.t.Errorf("reading report: %v", err)
		}
		l.mu.Lock()
		l.reports = append(l.reports, report)
		l.mu.Unlock()
	default:
		http.NotFound(w, r)
	}
}

// abortAfter answers a range request but breaks the connection after n bytes
// of the body.
func (l *lab) abortAfter(w http.ResponseWriter, r *http.Request, n int64) {
	http.ServeContent(&cutWriter{ResponseWriter: w, left: n}, r, "", time.Time{}, bytes.NewReader(l.stored))
}

type cutWriter struct {
	http.ResponseWriter
	left int64
}

func (c *cutWriter) Write(p []byte) (int, error) {
	n, _ := c.ResponseWriter.Write(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	if c.left == 0 {
		c.ResponseWriter.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	return n, nil
}

// hangUp closes the connection without an answer, like a dead server.
func hangUp(http.ResponseWriter, *http.Request, int) { panic(http.ErrAbortHandler) }

func (l *lab) disk(name string) []byte {
	l.t.Helper()
	data, err := os.ReadFile(filepath.Join(l.root, "dev", name))
	if err != nil {
		l.t.Fatal(err)
	}
	return data
}

// installed is what the disk shall hold: the image with the disk's own table and the
// stub, the backup of the table in a last MiB of zeros, and what was there before
// elsewhere.
func (l *lab) installed(kept ...disk.Entry) []byte {
	l.t.Helper()
	want := bytes.Repeat([]byte{0xa5}, diskSize)
	clear(want[diskSize-mib:])
	copy(want, l.image)
	backup, err := disk.Fit(want[:blockSize], l.sector, diskSize, kept...)
	if err != nil {
		l.t.Fatal(err)
	}
	copy(want[diskSize-len(backup):], backup)
	data, err := seed.Encode([]byte(stub), 64<<10)
	if err != nil {
		l.t.Fatal(err)
	}
	copy(want[l.seedAt:], data)
	return want
}

func (l *lab) wantInstalled() {
	l.t.Helper()
	if at := firstDifference(l.disk("sda"), l.installed()); at >= 0 {
		l.t.Errorf("the disk differs from the image at byte %d", at)
	}
}

func (l *lab) wantUntouched(names ...string) {
	l.t.Helper()
	for _, name := range names {
		got := l.disk(name)
		if at := firstDifference(got, bytes.Repeat([]byte{0xa5}, len(got))); at >= 0 {
			l.t.Errorf("%s was written at byte %d", name, at)
		}
	}
}

// wantUnbootable checks that there is neither boot code nor a table.
func (l *lab) wantUnbootable() { l.t.Helper(); l.wantZero(4096) }

// wantErased checks that the whole first MiB is zero.
func (l *lab) wantErased() { l.t.Helper(); l.wantZero(mib) }

func (l *lab) wantZero(size int) {
	l.t.Helper()
	if at := firstDifference(l.disk("sda")[:size], make([]byte, size)); at >= 0 {
		l.t.Errorf("byte %d of the disk is not zero", at)
	}
}

func (l *lab) lastReport() api.Report {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.reports) == 0 {
		return api.Report{}
	}
	return l.reports[len(l.reports)-1]
}

// wantFailure checks the error and that the server was told.
func (l *lab) wantFailure(err error, text string) {
	l.t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) {
		l.t.Fatalf("got error %v\nwant one with %s", err, text)
	}
	if got := l.lastReport(); got.Phase != api.PhaseFailed || got.Message != err.Error() {
		l.t.Errorf("the last report is %+v", got)
	}
}

func (l *lab) wantRanges(want ...string) {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if strings.Join(l.ranges, " ") != strings.Join(want, " ") {
		l.t.Errorf("ranges asked for: %q, want %q", l.ranges, want)
	}
}

// stored returns the Range header for blocks first to last.
func (l *lab) storedRange(first, last int) string {
	end := l.blocks.Blocks[last]
	return fmt.Sprintf("bytes=%d-%d", l.blocks.Blocks[first].StoredOffset, end.StoredOffset+end.StoredLength-1)
}

func firstDifference(a, b []byte) int {
	if bytes.Equal(a, b) {
		return -1
	}
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
