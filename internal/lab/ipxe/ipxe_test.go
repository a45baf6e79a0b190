package ipxe_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/internal/lab/ipxe"
)

// files serves what is in the map; %s is its own URL.
func files(t *testing.T, content map[string]string) *httptest.Server {
	t.Helper()
	var url string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, ok := content[r.URL.RequestURI()]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Write([]byte(strings.ReplaceAll(body, "%s", url)))
	}))
	url = s.URL
	t.Cleanup(s.Close)
	return s
}

func TestRun(t *testing.T) {
	s := files(t, map[string]string{
		"/boot.ipxe": `#!ipxe
set tries:int32 0
:find
chain --autofree --replace %s/machine.ipxe?uuid=${uuid}&mac=${net0/mac:hexhyp}&mac=${net1/mac:hexhyp} ||
inc tries
goto find`,
		"/machine.ipxe?uuid=&mac=52-54-00-00-00-01&mac=": `#!ipxe
echo installing
set tries:int32 0
:lost
initrd --name lost %s/lost && goto found ||
inc tries
iseq ${tries} 2 && goto go_on ||
goto lost
:go_on
kernel --name vmlinuz %s/vmlinuz initrd=seed.cpio quiet && goto kernel_done ||
goto failed
:kernel_done
initrd --name seed.cpio %s/seed
boot || goto failed
:failed
exit 1`,
		"/vmlinuz": "kernel", "/seed": "seed",
	})
	var console bytes.Buffer
	got, err := ipxe.Run(t.Context(), ipxe.Options{Client: s.Client(), URL: s.URL + "/boot.ipxe", MAC: "52-54-00-00-00-01", Console: &console})
	if err != nil {
		t.Fatal(err)
	}
	want := ipxe.Boot{Kernel: s.URL + "/vmlinuz", Arguments: []string{"initrd=seed.cpio", "quiet"}, Files: map[string][]byte{"seed.cpio": []byte("seed")}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if lost := strings.Count(console.String(), "404 Not Found"); lost != 2 || !strings.Contains(console.String(), "installing\n") {
		t.Errorf("the console says:\n%s", &console)
	}
}

func TestRunEnds(t *testing.T) {
	s := files(t, map[string]string{
		"/disk":    "#!ipxe\nisset ${waited} || set waited:int32 0\nsanboot --no-describe --drive 0x80 || exit 1",
		"/exit":    "#!ipxe\nexit 1",
		"/unknown": "#!ipxe\nimgargs x",
		"/none":    "<html>",
		"/label":   "#!ipxe\ngoto nowhere",
	})
	for path, want := range map[string]struct {
		disk bool
		err  string
	}{
		"/disk":    {disk: true},
		"/exit":    {},
		"/unknown": {err: `line 2 of the script, "imgargs x": "imgargs x" is no command of our scripts`},
		"/none":    {err: "/none is no script"},
		"/label":   {err: `there is no label "nowhere"`},
	} {
		got, err := ipxe.Run(t.Context(), ipxe.Options{Client: s.Client(), URL: s.URL + path, MAC: "52-54-00-00-00-01"})
		if (err == nil) != (want.err == "") || err != nil && !strings.Contains(err.Error(), want.err) {
			t.Errorf("%s: got %v, want %s", path, err, want.err)
		}
		if got.Disk != want.disk {
			t.Errorf("%s: got %+v", path, got)
		}
	}
}
