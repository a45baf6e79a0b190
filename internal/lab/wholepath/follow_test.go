package wholepath_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/butane/cluster"
	"github.com/k8snode/k8snode/internal/golden"
	"github.com/k8snode/k8snode/internal/lab/wholepath"
	"github.com/k8snode/k8snode/provision/admin"
	"github.com/k8snode/k8snode/provision/api"
)

var powerOn = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func at(seconds int) time.Time { return powerOn.Add(time.Duration(seconds) * time.Second) }

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestFollower(t *testing.T) {
	f := wholepath.NewFollower([]string{"w1", "cp1"}, powerOn)
	for _, o := range []struct {
		seconds int
		nodes   []admin.Node
		news    []string
	}{
		{1, []admin.Node{{Name: "cp1", Phase: api.PhaseArmed}, {Name: "w1", Phase: api.PhaseArmed}}, []string{"cp1 armed", "w1 armed"}},
		{2, []admin.Node{{Name: "cp1", Phase: api.PhaseArmed}, {Name: "w1", Phase: api.PhaseArmed}}, nil},
		{30, []admin.Node{{Name: "cp1", Phase: api.PhaseInstalling, Step: "write", Done: 29, Total: 100}, {Name: "stranger", Phase: "?"}}, []string{"cp1 installing write 20 %"}},
		{31, []admin.Node{{Name: "cp1", Phase: api.PhaseInstalling, Step: "write", Done: 28, Total: 100}}, nil},
		// Two phases between two observations.
		{90, []admin.Node{{Name: "cp1", Phase: api.PhaseConfiguring}}, []string{"cp1 configuring"}},
		{200, []admin.Node{{Name: "cp1", Phase: api.PhaseReady}, {Name: "w1", Phase: api.PhaseBootstrapping}}, []string{"cp1 ready", "w1 bootstrapping"}},
	} {
		news, err := f.Observe(at(o.seconds), o.nodes)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(o.news, news); diff != "" {
			t.Errorf("after %d s, news (-want +got):\n%s", o.seconds, diff)
		}
		if f.Done() {
			t.Errorf("done after %d s", o.seconds)
		}
	}
	if got, want := f.Summary(), "cp1 ready, w1 bootstrapping"; got != want {
		t.Errorf("got summary %q, want %q", got, want)
	}
	if _, err := f.Observe(at(300), []admin.Node{{Name: "w1", Phase: api.PhaseReady}}); err != nil {
		t.Fatal(err)
	}
	if !f.Done() {
		t.Error("not done although all are ready")
	}
	want := []wholepath.NodeTimes{
		{Name: "cp1", PoweredOn: powerOn, Reached: map[api.Phase]time.Time{
			api.PhaseInstalling: at(30), api.PhaseInstalled: at(90), api.PhaseConfiguring: at(90),
			api.PhaseBootstrapping: at(200), api.PhaseReady: at(200),
		}},
		{Name: "w1", PoweredOn: powerOn, Reached: map[api.Phase]time.Time{
			api.PhaseInstalling: at(200), api.PhaseInstalled: at(200), api.PhaseConfiguring: at(200),
			api.PhaseBootstrapping: at(200), api.PhaseReady: at(300),
		}},
	}
	if diff := cmp.Diff(want, f.Times()); diff != "" {
		t.Errorf("times (-want +got):\n%s", diff)
	}
}

func TestFollowerFails(t *testing.T) {
	for _, tt := range []struct {
		name string
		node admin.Node
		want string
	}{
		{"failed", admin.Node{Name: "w1", Phase: api.PhaseFailed, Step: "write", Message: "disk is full"}, `node w1 failed in step "write": disk is full`},
		{"held", admin.Node{Name: "w1", Phase: api.PhaseArmed, Held: true}, "node w1 is held: it installs again and again"},
		{"unknown phase", admin.Node{Name: "w1", Phase: "lost"}, `node w1 is in phase "lost", which nobody knows`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := wholepath.NewFollower([]string{"w1"}, powerOn)
			if _, err := f.Observe(at(1), []admin.Node{tt.node}); errorText(err) != tt.want {
				t.Errorf("got error %v, want %q", err, tt.want)
			}
		})
	}
}

func TestTimelineTable(t *testing.T) {
	timeline := wholepath.Timeline{
		Bake: 95 * time.Second,
		Stages: []wholepath.Stage{
			{Number: 1, Name: "render configs", Took: 1240 * time.Millisecond},
			{Number: 2, Name: "install and bootstrap", Took: 701 * time.Second},
		},
		Nodes: []wholepath.NodeTimes{
			{Name: "cp1", PoweredOn: powerOn, Reached: map[api.Phase]time.Time{
				api.PhaseInstalling: at(35), api.PhaseInstalled: at(90), api.PhaseConfiguring: at(150),
				api.PhaseBootstrapping: at(200), api.PhaseReady: at(701),
			}},
			{Name: "w1", PoweredOn: powerOn, Reached: map[api.Phase]time.Time{api.PhaseInstalling: at(40)}},
		},
	}
	var out strings.Builder
	if err := timeline.Write(&out); err != nil {
		t.Fatal(err)
	}
	golden.Check(t, filepath.Join("testdata", "timeline.txt"), []byte(out.String()))
}

func TestClusterDocument(t *testing.T) {
	spec, err := cluster.Parse("cluster.yaml", wholepath.ClusterDocument)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, n := range spec.Spec.Nodes {
		got = append(got, n.Name+" "+string(n.Role)+" "+n.MAC+" "+n.Address+" "+n.PodCIDR)
	}
	want := []string{
		"cp1 controlPlane 52:54:00:6b:00:0b 10.77.0.11/24 10.244.0.0/24",
		"w1 worker 52:54:00:6b:00:15 10.77.0.21/24 10.244.1.0/24",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("nodes (-want +got):\n%s", diff)
	}
	if file, err := os.ReadFile("cluster.yaml"); err != nil || string(file) != string(wholepath.ClusterDocument) {
		t.Errorf("cluster.yaml is not what is embedded (%v)", err)
	}
}
