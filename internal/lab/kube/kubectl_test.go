package kube_test

import (
	"encoding/json"
	"testing"

	"github.com/k8snode/k8snode/internal/lab/kube"
)

// decode reads what kubectl printed.
func decode[T any](t *testing.T, text string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestReady(t *testing.T) {
	names := []string{"cp1", "w1"}
	const cp1 = `{"metadata": {"name": "cp1"}, "status": {"conditions": [
		{"type": "DiskPressure", "status": "False"}, {"type": "Ready", "status": "True"}]}}`
	for _, tt := range []struct {
		name, list string
		seen       string
		ready      bool
	}{
		{
			name: "one is missing",
			list: `{"items": [` + cp1 + `]}`,
			seen: "cp1 is Ready, w1 is missing",
		},
		{
			name: "one is not ready",
			list: `{"items": [` + cp1 + `, {"metadata": {"name": "w1"}, "status": {"conditions": [
				{"type": "Ready", "status": "False", "reason": "KubeletNotReady", "message": "no CNI"}]}}]}`,
			seen: "cp1 is Ready, w1 is not Ready (KubeletNotReady: no CNI)",
		},
		{
			name: "no condition yet",
			list: `{"items": [` + cp1 + `, {"metadata": {"name": "w1"}}]}`,
			seen: "cp1 is Ready, w1 is not Ready (Unknown: )",
		},
		{
			name: "all",
			list: `{"items": [{"metadata": {"name": "w1"}, "status": {"conditions": [
				{"type": "Ready", "status": "True"}]}}, ` + cp1 + `]}`,
			seen:  "cp1 is Ready, w1 is Ready",
			ready: true,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			seen, ready := decode[kube.NodeList](t, tt.list).AllReady(names)
			if seen != tt.seen || ready != tt.ready {
				t.Errorf("got %q, %t; want %q, %t", seen, ready, tt.seen, tt.ready)
			}
		})
	}
}

func TestPreStaged(t *testing.T) {
	for _, tt := range []struct {
		name, object string
		want         string
		found        bool
	}{
		{
			name: "with digest",
			object: `{"status": {"images": [
				{"names": ["registry.test/pause:3.10"]},
				{"names": ["registry.test/coredns/coredns@sha256:00", "registry.test/coredns/coredns:v1.15.0"]}]}}`,
			want:  "registry.test/coredns/coredns:v1.15.0",
			found: true,
		},
		{name: "other images only", object: `{"status": {"images": [{"names": ["registry.test/notcoredns:v1"]}]}}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, found := decode[kube.Node](t, tt.object).PreStaged()
			if got != tt.want || found != tt.found {
				t.Errorf("got %q, %t; want %q, %t", got, found, tt.want, tt.found)
			}
		})
	}
}

func TestPodsReady(t *testing.T) {
	const running = `{"metadata": {"name": "a"}, "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}`
	for _, tt := range []struct {
		name, items string
		seen        string
		ready       bool
	}{
		{name: "none", seen: "there are no pods"},
		{name: "all", items: running + "," + running, ready: true},
		{name: "one is not", items: running + `,{"metadata": {"name": "b"}, "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]}}`, seen: "b is Running, not ready"},
		{name: "one is pending", items: `{"metadata": {"name": "c"}, "status": {"phase": "Pending"}}`, seen: "c is Pending, not ready"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			seen, ready := decode[kube.PodList](t, `{"items": [`+tt.items+`]}`).AllReady()
			if seen != tt.seen || ready != tt.ready {
				t.Errorf("got %q, %t; want %q, %t", seen, ready, tt.seen, tt.ready)
			}
		})
	}
}
