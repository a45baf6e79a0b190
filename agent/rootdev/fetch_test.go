package rootdev_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/agent/cmdline"
)

// serve starts a server whose n-th request, from 0, is answered by answer.
func serve(t *testing.T, answer func(w http.ResponseWriter, r *http.Request, n int)) cmdline.Root {
	t.Helper()
	n := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n++
		answer(w, r, n-1)
	}))
	t.Cleanup(s.Close)
	return cmdline.Root{Kind: cmdline.Remote, Value: s.URL + "/r?key=secret"}
}

func whole(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("ETag", `"1"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(image()))
}

// half breaks off in the middle of the file.
func half(w http.ResponseWriter) {
	w.Header().Set("ETag", `"1"`)
	w.Header().Set("Content-Length", strconv.Itoa(len(image())))
	w.Write(image()[:len(image())/2])
}

func TestFetch(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer func(w http.ResponseWriter, r *http.Request, n int)
		// ranges are the Range headers of the requests.
		ranges []string
	}{
		{"at once", func(w http.ResponseWriter, r *http.Request, _ int) { whole(w, r) }, []string{""}},
		{"resumed", func(w http.ResponseWriter, r *http.Request, n int) {
			if n == 0 {
				half(w)
				return
			}
			whole(w, r)
		}, []string{"", "bytes=12288-"}},
		{"changed in between", func(w http.ResponseWriter, r *http.Request, n int) {
			if n == 0 {
				half(w)
				return
			}
			w.Header().Set("ETag", `"2"`)
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(image()))
		}, []string{"", "bytes=12288-"}},
		{"a server without ranges", func(w http.ResponseWriter, _ *http.Request, n int) {
			if n == 0 {
				half(w)
				return
			}
			w.Write(image())
		}, []string{"", "bytes=12288-"}},
		{"a server that is starting", func(w http.ResponseWriter, r *http.Request, n int) {
			if n < 2 {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			whole(w, r)
		}, []string{"", "", ""}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newMachine(t)
			var ranges []string
			root := serve(t, func(w http.ResponseWriter, r *http.Request, n int) {
				ranges = append(ranges, r.Header.Get("Range"))
				tt.answer(w, r, n)
			})
			if err := m.open(root); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.ranges, ranges); diff != "" {
				t.Error(diff)
			}
			got, err := os.ReadFile(m.path("run/k8snode/root/rootfs.squashfs"))
			if err != nil || !bytes.Equal(got, image()) {
				t.Errorf("the file is not the image: %v", err)
			}
			m.want("network", "mount -t tmpfs -o size=28672,mode=0700 k8snode-root R/run/k8snode/root", "modprobe loop",
				"losetup --find --show --read-only R/run/k8snode/root/rootfs.squashfs", table("/dev/loop7"))
			if strings.Contains(m.console.String(), "secret") {
				t.Errorf("the console shows the query:\n%s", &m.console)
			}
			if last := "k8snode: root: 0 of 0 MiB (100%)\n"; !strings.HasSuffix(m.console.String(), last) {
				t.Errorf("the console ends without %q:\n%s", last, &m.console)
			}
		})
	}
}

func TestFetchErrors(t *testing.T) {
	for _, tt := range []struct {
		name    string
		prepare func(*machine)
		answer  func(w http.ResponseWriter, r *http.Request, n int)
		want    string
	}{
		{
			"another image", nil,
			func(w http.ResponseWriter, _ *http.Request, _ int) { w.Write([]byte("short")) },
			"getting URL/r: the file has 5 bytes, the root of this kernel command line has 24576: " +
				"kernel, initramfs, command line and root must be of one image",
		},
		{
			"not found", nil,
			func(w http.ResponseWriter, r *http.Request, _ int) { http.NotFound(w, r) },
			"getting URL/r: the server answered 404 Not Found",
		},
		{
			"wrong range", nil,
			func(w http.ResponseWriter, _ *http.Request, n int) {
				if n == 0 {
					half(w)
					return
				}
				w.Header().Set("Content-Range", "bytes 0-9/24576")
				w.WriteHeader(http.StatusPartialContent)
			},
			`getting URL/r: asked for bytes from 12288, the server answered with "bytes 0-9/24576"`,
		},
		{
			"never ready", nil,
			func(w http.ResponseWriter, _ *http.Request, _ int) { w.WriteHeader(http.StatusBadGateway) },
			"giving up after 2s: getting URL/r: the server answered 502 Bad Gateway",
		},
		{
			"no network", func(m *machine) { m.program("usr/libexec/k8snode/network", "echo no address >&2; exit 1") },
			func(http.ResponseWriter, *http.Request, int) {},
			"bringing up the network for URL/r (does a cable have a link, and does a DHCP server answer?): " +
				"running /usr/libexec/k8snode/network: exit status 1: no address",
		},
		{
			"no memory", func(m *machine) { m.write("proc/meminfo", []byte("MemAvailable: 8 kB\n")) },
			func(http.ResponseWriter, *http.Request, int) {},
			"the root needs 0 MiB of memory, of which 0 MiB are free: give this machine more, or install the image on a disk",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newMachine(t)
			if tt.prepare != nil {
				tt.prepare(m)
			}
			root := serve(t, tt.answer)
			err := m.open(root)
			base := strings.TrimSuffix(root.Value, "/r?key=secret")
			if got := strings.ReplaceAll(fmt.Sprint(err), base, "URL"); got != tt.want {
				t.Errorf("got  %v\nwant %s", got, tt.want)
			}
		})
	}
}
