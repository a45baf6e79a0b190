package install_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/k8snode/k8snode/agent/disk"
	"github.com/k8snode/k8snode/agent/disk/disktest"
	"github.com/k8snode/k8snode/agent/install"
	"github.com/k8snode/k8snode/provision/api"
)

func TestInstall(t *testing.T) {
	for _, tt := range []struct {
		name   string
		seedAt int64
	}{
		{"seed in a gap", 2 * blockSize},
		{"seed in the first block", 64 << 10},
		{"seed in another block", blockSize + 128<<10},
		{"seed across two blocks", 2*blockSize - 32<<10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t, tt.seedAt)
			if err := install.Run(context.Background(), l.opts); err != nil {
				t.Fatal(err)
			}
			l.wantInstalled()
			l.wantRanges(l.storedRange(0, len(l.blocks.Blocks)-1))
			if got := l.lastReport(); got != (api.Report{Phase: api.PhaseInstalled}) {
				t.Errorf("the last report is %+v", got)
			}
			for _, line := range []string{
				"k8snode: installing node w1\n",
				"k8snode: image image-1 goes to /dev/sda 0.0 GiB serial=\"S1\"\n",
				"k8snode: write: 4 of 4 MiB (100%)\n",
				"k8snode: verify: 4 of 4 MiB (100%)\n",
				"k8snode: installed on /dev/sda 0.0 GiB serial=\"S1\"\n",
			} {
				if !strings.Contains(l.console.String(), line) {
					t.Errorf("the console lacks %q:\n%s", line, &l.console)
				}
			}
		})
	}
}

func TestInstallLargeSectors(t *testing.T) {
	for _, seedAt := range []int64{64 << 10, 2 * blockSize} {
		l := newLab(t, seedAt, disktest.Disk{Name: "sda", Size: diskSize, Attributes: map[string]string{"queue/logical_block_size": "4096"}})
		l.large()
		if err := install.Run(context.Background(), l.opts); err != nil {
			t.Fatal(err)
		}
		l.wantInstalled()
	}
}

func TestInstallAgain(t *testing.T) {
	l := newLab(t, 2*blockSize)
	for range 2 {
		if err := install.Run(context.Background(), l.opts); err != nil {
			t.Fatal(err)
		}
		l.wantInstalled()
	}
}

func TestSmallRequests(t *testing.T) {
	l := newLab(t, 2*blockSize)
	l.opts.SpanLimit = 1
	if err := install.Run(context.Background(), l.opts); err != nil {
		t.Fatal(err)
	}
	l.wantInstalled()
	var want []string
	for i := range l.blocks.Blocks {
		want = append(want, l.storedRange(i, i))
	}
	l.wantRanges(want...)
}

// The server dies in the middle of a block, refuses connections for a while
// and comes back: only what is missing is fetched.
func TestServerDiesAndComesBack(t *testing.T) {
	l := newLab(t, 2*blockSize)
	b := l.blocks.Blocks
	l.serveDisk = func(w http.ResponseWriter, r *http.Request, request int) {
		switch {
		case request == 1:
			l.abortAfter(w, r, b[3].StoredOffset+1000)
		case request < 6:
			hangUp(w, r, request)
		case request == 6:
			http.Error(w, "starting", http.StatusServiceUnavailable)
		default:
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(l.stored))
		}
	}
	if err := install.Run(context.Background(), l.opts); err != nil {
		t.Fatal(err)
	}
	l.wantInstalled()
	last := len(b) - 1
	rest := l.storedRange(3, last)
	l.wantRanges(l.storedRange(0, last), rest, rest, rest, rest, rest, rest)
}

func TestServerHangs(t *testing.T) {
	l := newLab(t, 2*blockSize)
	l.serveDisk = func(w http.ResponseWriter, r *http.Request, request int) {
		if request > 1 {
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(l.stored))
			return
		}
		w.Header().Set("Content-Range", fmt.Sprintf("%s/%d", strings.Replace(r.Header.Get("Range"), "=", " ", 1), len(l.stored)))
		w.WriteHeader(http.StatusPartialContent)
		w.Write(l.stored[:l.blocks.Blocks[2].StoredOffset])
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}
	if err := install.Run(context.Background(), l.opts); err != nil {
		t.Fatal(err)
	}
	l.wantInstalled()
	l.wantRanges(l.storedRange(0, len(l.blocks.Blocks)-1), l.storedRange(2, len(l.blocks.Blocks)-1))
	if want := "server sent nothing for 300ms"; !strings.Contains(l.console.String(), want) {
		t.Errorf("the console lacks %q:\n%s", want, &l.console)
	}
}

func TestServerStaysAway(t *testing.T) {
	l := newLab(t, 2*blockSize)
	l.opts.Retry.Limit = 300 * time.Millisecond
	l.serveDisk = func(w http.ResponseWriter, r *http.Request, request int) {
		if request > 1 {
			hangUp(w, r, request)
		}
		l.abortAfter(w, r, l.blocks.Blocks[5].StoredOffset)
	}
	l.wantFailure(install.Run(context.Background(), l.opts), "giving up after 300ms without progress")
	l.wantUnbootable()
}

func TestCorruptOnce(t *testing.T) {
	l := newLab(t, 2*blockSize)
	bad := bytes.Clone(l.stored)
	bad[l.blocks.Blocks[4].StoredOffset+100] ^= 1
	l.serveDisk = func(w http.ResponseWriter, r *http.Request, request int) {
		content := l.stored
		if request == 1 {
			content = bad
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	}
	if err := install.Run(context.Background(), l.opts); err != nil {
		t.Fatal(err)
	}
	l.wantInstalled()
	l.wantRanges(l.storedRange(0, len(l.blocks.Blocks)-1), l.storedRange(4, 4))
}

func TestCorruptAlways(t *testing.T) {
	l := newLab(t, 2*blockSize)
	l.opts.BlockTries = 3
	// A whole frame of other bytes: only the digest tells.
	l.blocks.Blocks[4].SHA256 = strings.Repeat("0", 64)
	l.plan.Image.BlockMapSHA256 = digest(l.blockMap())
	err := install.Run(context.Background(), l.opts)
	l.wantFailure(err, "installing on /dev/sda: block 4 of "+l.plan.Image.DiskURL+": sha256 is ")
	l.wantFailure(err, ", want "+strings.Repeat("0", 64)+" (3 times)")
	l.wantUnbootable()
	l.wantRanges(l.storedRange(0, len(l.blocks.Blocks)-1), l.storedRange(4, 4), l.storedRange(4, 4))
}

func TestRefusedBeforeWriting(t *testing.T) {
	one := disktest.Disk{Name: "sda", Serial: "S1", Size: diskSize}
	for _, tt := range []struct {
		name   string
		disks  []disktest.Disk
		change func(*lab)
		want   string
	}{
		{
			name:   "wrong block map",
			change: func(l *lab) { l.plan.Image.BlockMapSHA256 = strings.Repeat("0", 64) },
			want:   "the plan says 0000000000000000000000000000000000000000000000000000000000000000",
		},
		{
			name:  "small disk",
			disks: []disktest.Disk{{Name: "sda", Size: imageSize - 512}},
			want:  "installing on /dev/sda 0.0 GiB: the disk has 8388096 bytes (0.0 GiB), the image needs 8388608 (0.0 GiB)",
		},
		{
			name:   "less than the plan asks for",
			change: func(l *lab) { l.plan.Disk.MinSizeGiB = 1 },
			want:   "/dev/sda 0.0 GiB serial=\"S1\": is smaller than 1 GiB",
		},
		{
			name:  "two disks",
			disks: []disktest.Disk{one, {Name: "sdb", Serial: "S2", Size: diskSize}},
			want:  "selecting disk: several disks match (the selection is empty: any disk):\n  /dev/sda 0.0 GiB serial=\"S1\": matches\n  /dev/sdb 0.0 GiB serial=\"S2\": matches",
		},
		{
			name:  "disk with large sectors",
			disks: []disktest.Disk{{Name: "sda", Size: diskSize, Attributes: map[string]string{"queue/logical_block_size": "4096"}}},
			want: "selecting disk: /dev/sda 0.0 GiB has logical sectors of 4096 bytes, the image is for 512: " +
				"bake an image with spec.disk.sectorSize 4096, or reformat the disk if it can (nvme format, sg_format)",
		},
		{
			name:   "image for large sectors",
			change: (*lab).large,
			want:   "has logical sectors of 512 bytes, the image is for 4096: bake an image with spec.disk.sectorSize 512, or",
		},
		{
			name:   "no plan",
			change: func(l *lab) { l.servePlan = answer(http.StatusForbidden, "no window is open") },
			want:   "server answered 403 Forbidden: no window is open",
		},
		{
			name:   "redirect",
			change: func(l *lab) { l.servePlan = http.RedirectHandler("/elsewhere", http.StatusFound).ServeHTTP },
			want:   "server answered 302 Found",
		},
		{
			name:   "empty plan",
			change: func(l *lab) { l.servePlan = answer(http.StatusOK, "") },
			want:   "reading install plan: unexpected end of JSON input",
		},
		{
			name:   "plan of another node",
			change: func(l *lab) { l.plan.Node = "w2" },
			want:   `reading install plan: the plan is for node "w2", this machine is "w1"`,
		},
		{
			name:   "no stub",
			change: func(l *lab) { l.plan.Stub = nil },
			want:   "reading install plan: stub is empty: the node would start without an identity",
		},
		{
			name:   "no block map",
			change: func(l *lab) { l.plan.Image.BlockMapURL += "x" },
			want:   "server answered 404 Not Found: 404 page not found",
		},
		{
			name: "disk in use",
			change: func(l *lab) {
				l.opts.Open = func(string) (disk.Target, error) { return nil, errors.New("opening: in use") }
			},
			want: "installing on /dev/sda: opening: in use",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t, 2*blockSize, tt.disks...)
			if tt.change != nil {
				tt.change(l)
			}
			l.wantFailure(install.Run(context.Background(), l.opts), tt.want)
			l.wantUntouched("sda")
			l.wantRanges()
		})
	}
}

func answer(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		w.Write([]byte(body))
	}
}

func TestPlanAfterServerErrors(t *testing.T) {
	l := newLab(t, 2*blockSize)
	tries := 0
	l.servePlan = func(w http.ResponseWriter, _ *http.Request) {
		if tries++; tries < 4 {
			http.Error(w, "starting", http.StatusBadGateway)
			return
		}
		json.NewEncoder(w).Encode(l.plan)
	}
	if err := install.Run(context.Background(), l.opts); err != nil {
		t.Fatal(err)
	}
	l.wantInstalled()
	if want := "server answered 502 Bad Gateway: starting; next try in 1ms\n"; !strings.Contains(l.console.String(), want) {
		t.Errorf("the console lacks %q:\n%s", want, &l.console)
	}
}

func TestWrongAuthority(t *testing.T) {
	l := newLab(t, 2*blockSize)
	other := newLab(t, 2*blockSize)
	server := newSelfSigned(t)
	l.opts.Client = other.client(api.Seed{Node: "w1", Server: server.url, CA: server.otherCA, Token: token})
	start := time.Now()
	err := install.Run(context.Background(), l.opts)
	if err == nil || !strings.Contains(err.Error(), "x509: certificate signed by unknown authority") {
		t.Fatalf("got %v", err)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("an untrusted server was tried for %v", took)
	}
	if server.requests.Load() != 0 {
		t.Error("the token was sent to an untrusted server")
	}
	l.wantUntouched("sda")
}

func TestRangeIgnored(t *testing.T) {
	l := newLab(t, 2*blockSize)
	l.serveDisk = func(w http.ResponseWriter, _ *http.Request, _ int) { w.Write(l.stored) }
	l.wantFailure(install.Run(context.Background(), l.opts), "server ignores Range requests")
	l.wantUnbootable()
}

func TestReportsNeverFailTheInstall(t *testing.T) {
	l := newLab(t, 2*blockSize)
	l.opts.Reports.FinalLimit = 50 * time.Millisecond
	plan := l.plan
	s := newSelfSigned(t)
	s.handler = func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == api.PathInstall {
			json.NewEncoder(w).Encode(plan)
			return
		}
		// A report never gets an answer. The server notices that the client is
		// gone only once the body is read.
		io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}
	l.opts.Client = l.client(api.Seed{Node: "w1", Server: s.url, CA: s.ca, Token: token})
	if err := install.Run(context.Background(), l.opts); err != nil {
		t.Fatal(err)
	}
	l.wantInstalled()
	if want := "k8snode: the server was not told: giving up after 50ms"; !strings.Contains(l.console.String(), want) {
		t.Errorf("the console lacks %q:\n%s", want, &l.console)
	}
}

func TestCancelled(t *testing.T) {
	l := newLab(t, 2*blockSize)
	ctx, cancel := context.WithCancelCause(context.Background())
	l.serveDisk = func(_ http.ResponseWriter, r *http.Request, _ int) {
		cancel(errors.New("terminated"))
		<-r.Context().Done()
	}
	l.wantFailure(install.Run(ctx, l.opts), "installing on /dev/sda: terminated")
	l.wantUnbootable()
}

func TestSlowDiskAppears(t *testing.T) {
	l := newLab(t, 2*blockSize)
	l.opts.DiskWait = 10 * time.Second
	hidden, shown := filepath.Join(l.root, "sda"), filepath.Join(l.root, "sys/block/sda")
	if err := os.Rename(shown, hidden); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(300*time.Millisecond, func() { os.Rename(hidden, shown) })
	if err := install.Run(context.Background(), l.opts); err != nil {
		t.Fatal(err)
	}
	l.wantInstalled()
}
