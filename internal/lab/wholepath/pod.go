package wholepath

import (
	"encoding/json"
	"fmt"

	"github.com/k8snode/k8snode/internal/lab/kube"
)

// podName is the name of the pod that must answer.
const podName = "whoami"

// pod is the part of a Pod that is written and read here.
type pod struct {
	APIVersion string        `json:"apiVersion"`
	Kind       string        `json:"kind"`
	Metadata   kube.Metadata `json:"metadata"`
	Spec       podSpec       `json:"spec"`
	Status     podStatus     `json:"status,omitzero"`
}

type podSpec struct {
	NodeSelector                 map[string]string `json:"nodeSelector"`
	AutomountServiceAccountToken bool              `json:"automountServiceAccountToken"`
	// DNSPolicy is Default: CoreDNS does not ask the cluster's own.
	DNSPolicy  string      `json:"dnsPolicy"`
	Containers []container `json:"containers"`
}

type container struct {
	Name            string `json:"name"`
	Image           string `json:"image"`
	ImagePullPolicy string `json:"imagePullPolicy"`
}

type podStatus struct {
	Phase             string            `json:"phase,omitempty"`
	PodIP             string            `json:"podIP,omitempty"`
	Conditions        []kube.Condition  `json:"conditions,omitempty"`
	ContainerStatuses []containerStatus `json:"containerStatuses,omitempty"`
}

type containerStatus struct {
	State struct {
		Waiting *struct {
			Reason  string `json:"reason"`
			Message string `json:"message"`
		} `json:"waiting,omitempty"`
	} `json:"state"`
}

// podManifest pins a CoreDNS without a configuration to a node. It then
// answers every question with who asked, on port 53. The image must be there:
// nothing can be pulled in a network without an uplink.
func podManifest(image, node string) ([]byte, error) {
	return json.Marshal(pod{
		APIVersion: "v1",
		Kind:       "Pod",
		Metadata:   kube.Metadata{Name: podName},
		Spec: podSpec{
			NodeSelector: map[string]string{"kubernetes.io/hostname": node},
			DNSPolicy:    "Default",
			Containers:   []container{{Name: podName, Image: image, ImagePullPolicy: "Never"}},
		},
	})
}

// running reports whether the pod runs and has an address, and what is seen.
func (p pod) running() (seen string, ok bool) {
	if p.Status.Phase == "Running" && p.Status.PodIP != "" {
		return "", true
	}
	seen = "the pod is " + p.Status.Phase
	for _, c := range p.Status.ContainerStatuses {
		if w := c.State.Waiting; w != nil {
			seen += fmt.Sprintf(" (%s: %s)", w.Reason, w.Message)
		}
	}
	for _, c := range p.Status.Conditions {
		if c.Type == "PodScheduled" && c.Status != "True" {
			seen += fmt.Sprintf(" (%s: %s)", c.Reason, c.Message)
		}
	}
	return seen, false
}
