package bootstrap_test

import (
	"testing"

	"github.com/k8snode/k8snode/agent/bootstrap"
	"github.com/k8snode/k8snode/agent/node"
)

func TestDecide(t *testing.T) {
	cp := node.Config{ClusterID: "c1", Role: node.ControlPlane}
	worker := node.Config{ClusterID: "c1", Role: node.Worker}
	record := func(id string, action bootstrap.Action, succeeded bool) *bootstrap.Record {
		return &bootstrap.Record{ClusterID: id, Action: action, Succeeded: succeeded}
	}
	for _, tt := range []struct {
		name     string
		cfg      node.Config
		facts    bootstrap.Facts
		asksEtcd bool
		want     bootstrap.Action
		wantErr  string
	}{
		{name: "first control plane", cfg: cp, asksEtcd: true, want: bootstrap.ActionInit},
		{name: "further control plane", cfg: cp, asksEtcd: true, facts: bootstrap.Facts{Initialised: true}, want: bootstrap.ActionJoin},
		{
			name: "init failed early", cfg: cp, asksEtcd: true, want: bootstrap.ActionInit,
			facts: bootstrap.Facts{Record: record("c1", bootstrap.ActionInit, false)},
		},
		{
			name: "init failed, and another one did it", cfg: cp, asksEtcd: true, want: bootstrap.ActionJoin,
			facts: bootstrap.Facts{Initialised: true, Record: record("c1", bootstrap.ActionInit, false)},
		},
		{
			name: "join failed", cfg: cp, asksEtcd: true, want: bootstrap.ActionJoin,
			facts: bootstrap.Facts{Initialised: true, Record: record("c1", bootstrap.ActionJoin, false)},
		},
		{
			name: "crash after init", cfg: cp, want: bootstrap.ActionFinish,
			facts: bootstrap.Facts{Record: record("c1", bootstrap.ActionInit, true)},
		},
		{
			name: "done", cfg: cp, want: bootstrap.ActionNone,
			facts: bootstrap.Facts{Done: true, Record: record("c1", bootstrap.ActionInit, true)},
		},
		{name: "done, without a record", cfg: worker, want: bootstrap.ActionNone, facts: bootstrap.Facts{Done: true}},
		{
			name: "of another cluster", cfg: cp, asksEtcd: true, facts: bootstrap.Facts{Record: record("c0", bootstrap.ActionInit, false)},
			wantErr: "this machine began to init the cluster c0, but its configuration says c1: reimage it",
		},
		{name: "worker", cfg: worker, want: bootstrap.ActionJoin},
		{
			name: "worker again", cfg: worker, want: bootstrap.ActionJoin,
			facts: bootstrap.Facts{Record: record("c1", bootstrap.ActionJoin, false)},
		},
		{
			name: "crash after join", cfg: worker, want: bootstrap.ActionFinish,
			facts: bootstrap.Facts{Record: record("c1", bootstrap.ActionJoin, true)},
		},
		{name: "no role", cfg: node.Config{ClusterID: "c1", Role: "x"}, wantErr: `role "x" is unknown`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := bootstrap.NeedsEtcd(tt.cfg, tt.facts); got != tt.asksEtcd {
				t.Errorf("asks etcd: %v, want %v", got, tt.asksEtcd)
			}
			got, err := bootstrap.Decide(tt.cfg, tt.facts)
			if tt.wantErr != "" {
				if err == nil || err.Error() != tt.wantErr {
					t.Errorf("got %v, want %s", err, tt.wantErr)
				}
				return
			}
			if err != nil || got != tt.want {
				t.Errorf("got %q, %v; want %q", got, err, tt.want)
			}
		})
	}
}

func TestRedact(t *testing.T) {
	for in, want := range map[string]string{
		"kubeadm join api:6443 --token abcdef.0123456789abcdef \\":  "kubeadm join api:6443 --token [redacted] \\",
		"--control-plane --certificate-key 00ff00ff":                "--control-plane --certificate-key [redacted]",
		"--certificate-key=00ff --v=5":                              "--certificate-key=[redacted] --v=5",
		"[preflight] Running pre-flight checks":                     "[preflight] Running pre-flight checks",
		"two: abcdef.0123456789abcdef and ghijkl.0123456789abcdef.": "two: [redacted] and [redacted].",
	} {
		if got := bootstrap.Redact(in); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
